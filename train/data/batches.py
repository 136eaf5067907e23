"""Batches for the optimiser: rows of the cached images, shuffled and augmented by a seed, as tf.data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.config import Augmentation

Pair = tuple[tf.Tensor, tf.Tensor]

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


def stored_features(array: NDArray[np.generic], rows: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches of rows of an array as float32, in the order of the rows."""
    return _batched_rows(array, rows, batch_size).map(lambda batch: tf.cast(batch, tf.float32)).prefetch(_PARALLEL)


def augmented_images(
    images_u8: NDArray[np.uint8], rows: NDArray[np.int64], batch_size: int, augmentation: Augmentation, seed: int
) -> tf.data.Dataset:
    """Batches (b, S, S, 3) of float32 0 to 1, each image changed at random; the same seed gives the same images."""
    batches = _batched_rows(images_u8, rows, batch_size).enumerate()
    return batches.map(
        lambda index, batch_u8: _augment(to_network_input(batch_u8), augmentation, seed, index),
        num_parallel_calls=_PARALLEL,
    ).prefetch(_PARALLEL)


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
    grey = tf.cast(batch_u8, tf.float32) / 255.0
    return tf.repeat(grey[..., tf.newaxis], 3, axis=-1)


def _batched_rows(array: NDArray[np.generic], rows: NDArray[np.int64], batch_size: int) -> tf.data.Dataset:
    """Batches of rows of a memory-mapped array, read when they are needed."""
    batch_shape = (None, *array.shape[1:])

    def read(indices: NDArray[np.int64]) -> NDArray[np.generic]:
        return np.ascontiguousarray(array[indices])

    def read_batch(indices: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(read, [indices], tf.as_dtype(array.dtype))
        batch.set_shape(batch_shape)
        return batch

    return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size).map(read_batch)


def _augment(batch: tf.Tensor, augmentation: Augmentation, seed: int, index: tf.Tensor) -> tf.Tensor:
    """The batch under one random rotation, shift, zoom and flip an image, with black beyond the borders."""
    count, side = tf.shape(batch)[0], tf.cast(tf.shape(batch)[1], tf.float32)
    chance = tf.random.stateless_uniform((6, count), seed=[seed, tf.cast(index, tf.int32)], minval=-1.0, maxval=1.0)
    angle = chance[0] * (augmentation.rotation_degrees * np.pi / 180.0)
    zoom = 1.0 + chance[1] * augmentation.zoom
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
