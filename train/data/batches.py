"""Batches for the optimiser: rows of the cached images, shuffled and augmented by a seed, as tf.data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

from train.config import Augmentation
from train.data.boxes import painted

Pair = tuple[tf.Tensor, tf.Tensor]

CELL = 16  # pixels: the side of a cell of a map; the layer that it reads shrinks an image that much

_PARALLEL = 2


@dataclass(frozen=True)
class Examples:
    """Labelled rows of an array of images or of features."""

    rows: NDArray[np.int64]  # (n,): rows of the array
    labels: NDArray[np.int64]  # (n,): 0 or 1
    weights: NDArray[np.float32]  # (n,): of each example in the loss


def weigh(rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Examples:
    """Examples whose classes weigh the same in sum, and 1 in the mean."""
    counts = np.bincount(labels, minlength=2)
    weights = (labels.size / (2.0 * np.maximum(counts, 1)))[labels].astype(np.float32)
    return Examples(rows, labels, weights)


def epoch_order(examples: Examples, seed: int, epoch: int) -> Examples:
    """The examples in the order of one epoch, which depends on nothing but seed and epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(examples.rows.size)
    return Examples(examples.rows[order], examples.labels[order], examples.weights[order])


def balanced_order(examples: Examples, draws: int, least_share: float, seed: int, epoch: int) -> Examples:
    """As many examples as there are, the rarer class in at least a given share of them; rows are those of its draws.

    Each picture stands in `draws` rows: picture i, in order, in i, i + n, i + 2n and so on.

    Args:
        examples: n pictures, both classes among them.
        draws: augmented draws of each picture.
        least_share: of the rarer class, 0 to 0.5.
        seed: of the choice.
        epoch: likewise; each epoch chooses anew, as often as it can from rows that it has not chosen yet.
    """
    rng = np.random.default_rng([seed, epoch])
    count = examples.rows.size
    members = [np.flatnonzero(examples.labels == label) for label in (0, 1)]
    rarer = int(members[1].size < members[0].size)
    wanted = max(members[rarer].size, round(least_share * count))
    parts = [
        _chosen(members[label], draws, count, wanted if label == rarer else count - wanted, rng) for label in (0, 1)
    ]
    rows = rng.permutation(np.concatenate(parts))
    return weigh(rows, examples.labels[rows % count])


def _chosen(
    members: NDArray[np.int64], draws: int, count: int, wanted: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """So many rows of some pictures, each at most once more often than any other."""
    rows = (np.arange(draws)[:, np.newaxis] * count + members).ravel()
    rounds = -(-wanted // rows.size)
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:wanted]


def stored_features(array: NDArray[np.generic], rows: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches of rows of an array as float32, in the order of the rows."""
    return _batched_rows(array, rows, batch_size).map(lambda batch: tf.cast(batch, tf.float32)).prefetch(_PARALLEL)


def augmented_images(
    images_u8: NDArray[np.uint8], rows: NDArray[np.int64], batch_size: int, augmentation: Augmentation, seed: int
) -> tf.data.Dataset:
    """Batches (b, S, S, 3) of float32 0 to 1, each image changed at random; the same seed gives the same images."""

    def change(index: tf.Tensor, batch_u8: tf.Tensor) -> tf.Tensor:
        grey = _scaled(batch_u8)[..., tf.newaxis]
        return _in_three_channels(_augment(grey, augmentation, seed, index))

    batches = _batched_rows(images_u8, rows, batch_size).enumerate()
    return batches.map(change, num_parallel_calls=_PARALLEL).prefetch(_PARALLEL)


def augmented_with_cells(
    images_u8: NDArray[np.uint8],
    boxes: Mapping[int, NDArray[np.float32]],
    rows: NDArray[np.int64],
    batch_size: int,
    augmentation: Augmentation | None,
    seed: int = 0,
) -> tf.data.Dataset:
    """Batches of images as `augmented_images` gives them, and of cells (b, S/32, S/32): how much of each is boxed.

    Args:
        images_u8: (m, S, S).
        boxes: (n, 4) in pixels, by row; see train.data.boxes.
        rows: of the images.
        batch_size: images.
        augmentation: of images and boxes alike; None leaves them as they are.
        seed: of the augmentation.
    """
    side = images_u8.shape[1]
    nothing = np.zeros((0, 4), np.float32)

    def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        masks = painted([boxes.get(int(row), nothing) for row in indices], side)
        return np.stack([images_u8[indices], masks], axis=-1)

    def change(index: tf.Tensor, both_u8: tf.Tensor) -> Pair:
        both = _scaled(both_u8)
        changed = both if augmentation is None else _augment(both, augmentation, seed, index)
        cells = tf.nn.avg_pool2d(changed[..., 1:], CELL, CELL, "VALID")[..., 0]
        return _in_three_channels(changed[..., :1]), cells

    batches = _read_batches(read, (side, side, 2), np.uint8, rows, batch_size).enumerate()
    return batches.map(change, num_parallel_calls=_PARALLEL).prefetch(_PARALLEL)


def plain_images(images_u8: NDArray[np.uint8], rows: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches (b, S, S, 3) of float32 0 to 1, in the order of the rows."""
    return _batched_rows(images_u8, rows, batch_size).map(to_network_input).prefetch(_PARALLEL)


def with_targets(batches: tf.data.Dataset, examples: Examples, batch_size: int) -> tf.data.Dataset:
    """(features, label, weight) batches."""
    targets = tf.data.Dataset.from_tensor_slices(
        (examples.labels.astype(np.float32)[:, None], examples.weights[:, None])
    )
    return tf.data.Dataset.zip(batches, targets.batch(batch_size)).map(lambda batch, target: (batch, *target))


def to_network_input(batch_u8: tf.Tensor) -> tf.Tensor:
    """(b, S, S, 3) float32 0 to 1 from (b, S, S) grey uint8: three equal channels, as first described."""
    return _in_three_channels(_scaled(batch_u8)[..., tf.newaxis])


def _scaled(batch_u8: tf.Tensor) -> tf.Tensor:
    """float32, 0 to 1."""
    return tf.cast(batch_u8, tf.float32) / 255.0


def _in_three_channels(batch: tf.Tensor) -> tf.Tensor:
    """(b, S, S, 3) from (b, S, S, 1); last of all, so that what changes images changes one channel."""
    return tf.repeat(batch, 3, axis=-1)


def _batched_rows(array: NDArray[np.generic], rows: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches of rows of a memory-mapped array, read when they are needed."""
    return _read_batches(
        lambda indices: np.ascontiguousarray(array[indices]), array.shape[1:], array.dtype, rows, batch_size
    )


def _read_batches(
    read: Callable[[NDArray[np.int64]], NDArray[np.generic]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    rows: NDArray[np.int64],
    batch_size: int,
) -> tf.data.Dataset:
    """Batches of what a function reads of each batch of rows; shape and dtype are those of one row."""

    def read_batch(indices: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(read, [indices], tf.as_dtype(dtype))
        batch.set_shape((None, *shape))
        return batch

    return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).map(read_batch)


def _augment(batch: tf.Tensor, augmentation: Augmentation, seed: int, index: tf.Tensor) -> tf.Tensor:
    """The batch under one random rotation, shift, zoom and flip an image, with black beyond the borders."""
    count, side = tf.shape(batch)[0], tf.cast(tf.shape(batch)[1], tf.float32)
    chance = tf.random.stateless_uniform((6, count), seed=[seed, tf.cast(index, tf.int32)], minval=-1.0, maxval=1.0)
    angle = chance[0] * (augmentation.rotation_degrees * np.pi / 180.0)
    zoom = 1.0 + chance[1] * augmentation.zoom
    if augmentation.any_angle:
        # Apart, so that all else is drawn alike with and without it.
        lot, part = tf.unstack(tf.random.stateless_uniform((2, count), seed=[seed, -1 - tf.cast(index, tf.int32)]))
        turned, wide = lot < augmentation.any_angle, chance[0] * np.pi
        angle = tf.where(turned, wide, angle)
        # A file that is turned keeps its corners: the square around it is larger, and its bones look smaller.
        whole = tf.abs(tf.cos(wide)) + tf.abs(tf.sin(wide))
        zoom = tf.where(turned, zoom * (1.0 + part * (whole - 1.0)), zoom)
    shift = chance[2] * augmentation.shift * side, chance[3] * augmentation.shift * side
    ones = tf.ones_like(angle)
    flip_x, flip_y = (tf.sign(chance[4]), tf.sign(chance[5])) if augmentation.flip else (ones, ones)
    row_x = flip_x * tf.cos(angle) * zoom, -flip_y * tf.sin(angle) * zoom
    row_y = flip_x * tf.sin(angle) * zoom, flip_y * tf.cos(angle) * zoom
    transforms = _about_centre(row_x, row_y, shift, (side - 1.0) / 2.0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=batch,
        transforms=transforms,
        output_shape=tf.shape(batch)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _about_centre(row_x: Pair, row_y: Pair, shift: Pair, centre: tf.Tensor) -> tf.Tensor:
    """(b, 8) rows a0 a1 a2 b0 b1 b2 0 0, which map each output pixel (x, y) to the input's (a.(x,y,1), b.(x,y,1)).

    Args:
        row_x: a0 and a1 of each image, (b,).
        row_y: b0 and b1.
        shift: along x and y, pixels.
        centre: pixels, of both axes; it stays where it is but for the shift.
    """
    (a0, a1), (b0, b1) = row_x, row_y
    a2 = centre - a0 * centre - a1 * centre + shift[0]
    b2 = centre - b0 * centre - b1 * centre + shift[1]
    zeros = tf.zeros_like(a0)
    return tf.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1)
