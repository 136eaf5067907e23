"""The trained part of a network beside what it is taught with: the label of each image, and where its fractures are.

Each opinion of a head is taught on its own, so that none leans on the other; the answer is their mean. A map learns
cell by cell: of an image the boxed cells weigh together as much as one answer, and so do all others. Cells that a box
merely touches teach nothing, and neither do those of a fractured image whose boxes are not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from train.data.batches import Examples
from train.fit.consistency import (
    AGREEMENT_WEIGHT,
    ONE_IN,
    Apart,
    Disagreement,
    PairedDropout,
    TakenApart,
    call_apart,
)
from train.fit.devices import filled, filled_count
from train.int8.fake_quant import Logit, OnGrid
from train.int8.keras_graph import Inputs, Tensor, answer_layer, call, run_layers
from train.int8.layer_kinds import WEIGHTED, is_rounded
from train.networks.heads import FRACTURE_MAP, OPINIONS

SMOOTHING = 0.05  # of labels: radiographs are labelled by people, and a fracture may be missed (arXiv:1512.00567)

LEAST_SHARE = 0.35  # of the rarer class in every epoch: seen more often, it is learnt in fewer steps

WHOLE, STRONGEST, CELLS = "whole", "strongest", "cells"  # outputs of the part that is taught, all logits

_BOXED = 0.4  # of the best covered cell of an image: so much of a cell makes it one of a fracture
_GONE = 0.4  # of a fracture's area: augmentation that leaves less of it inside leaves no fractured image


Targets = tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]  # labels and weights by output


@dataclass(frozen=True)
class TaughtPart:
    """The upper part of a network, whose layers are those of the network itself."""

    training: keras.Model  # features of a batch and its pairs -> logits by name
    exact: keras.Model  # features -> probability (b, 1)

    @property
    def has_map(self) -> bool:
        """Whether it learns from boxes."""
        return CELLS in self.training.output

    def losses(self) -> dict[str, keras.losses.Loss]:
        """Of each output."""
        opinion = {"label_smoothing": SMOOTHING, "from_logits": True}
        return {
            name: keras.losses.BinaryCrossentropy(**({"from_logits": True} if name == CELLS else opinion))
            for name in self.training.output
        }

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """The accuracy of the first opinion."""
        return {WHOLE: keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")}


def taught_part(model: keras.Model, seam: str) -> TaughtPart:
    """The part of a network above a layer, its kernels on the int8 grid; that of pairs rounds its tensors too.

    Args:
        model: flat, with a head of train.networks.heads, which begins with dropout. Its trainable layers are trained.
        seam: name of the layer whose output is the input.
    """
    start = model.get_layer(seam).output
    features = keras.Input(start.shape[1:], name="features")
    answer = answer_layer(model)
    has_map = any(layer.name == OPINIONS for layer in model.layers)
    found: dict[str, Tensor] = {}

    def exact(layer: layers.Layer, inputs: Inputs) -> Tensor:
        return call(_on_grid_if_trained(layer), inputs)

    def taught(layer: layers.Layer, inputs: Inputs) -> Tensor:
        if isinstance(layer, layers.Dropout):
            return PairedDropout(layer.rate)(inputs[0].together())
        if isinstance(inputs[0], Apart):
            return call_apart(_on_grid_if_trained(layer), inputs, is_rounded(layer))
        if layer is answer:
            found[WHOLE] = inputs[0] if has_map else Logit(layer)(inputs[0])
        output = exact(layer, inputs)
        if layer.name == FRACTURE_MAP:
            found[CELLS] = output
        return output

    outputs = run_layers(model, start, features, exact)
    run_layers(model, start, Apart(*TakenApart()(features)), taught)
    opinions = Disagreement(AGREEMENT_WEIGHT)(found.pop(WHOLE))
    taught_outputs = {WHOLE: opinions[:, :1], STRONGEST: opinions[:, 1:]} if has_map else {WHOLE: opinions}
    return TaughtPart(
        training=keras.Model(features, taught_outputs | found, name=f"{model.name}_taught"),
        exact=keras.Model(features, outputs[0] if has_map else outputs, name=f"{model.name}_exact"),
    )


def _on_grid_if_trained(layer: layers.Layer) -> layers.Layer:
    return OnGrid(layer) if isinstance(layer, WEIGHTED) and layer.trainable else layer


def targets(part: TaughtPart, examples: Examples, cells: NDArray[np.floating], uncut: NDArray[np.floating]) -> Targets:
    """What examples teach: (labels, weights) of each output, as tf.data takes them.

    Args:
        part: what is taught.
        examples: n of them.
        cells: (n, h, w), how much of each cell is boxed in the draw.
        uncut: (n,), sum of the cells before augmentation; 0 where no box is told.
    """
    labels, weights = examples.labels.astype(np.float32), examples.weights.astype(np.float32)
    visible = cells.sum(axis=(1, 2)) / np.maximum(uncut, 1e-6)
    whole = np.where((labels == 1) & (uncut > 0) & (visible < _GONE), 0.0, weights).astype(np.float32)
    taught = {name: labels[:, np.newaxis] for name in part.training.output}
    weighed = {name: whole[:, np.newaxis] for name in part.training.output}
    if part.has_map:
        taught[CELLS], weighed[CELLS] = _cell_targets(cells, np.where((labels == 1) & (uncut == 0), 0.0, weights))
    return taught, weighed


def _cell_targets(
    cells: NDArray[np.floating], weights: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, h, w, 1) labels of cells, and their weights (n, h, w)."""
    cells = cells.astype(np.float32)
    best = cells.max(axis=(1, 2), keepdims=True)
    boxed = (cells > 0) & (cells >= _BOXED * best)
    clear = cells == 0
    count = cells[0].size
    # The loss is the mean over all cells: boxed ones share the weight of an image, and so do all others.
    share = np.where(boxed, count / np.maximum(boxed.sum(axis=(1, 2), keepdims=True), 1), clear.astype(np.float32))
    weighed = share * weights[:, np.newaxis, np.newaxis]
    return boxed[..., np.newaxis].astype(np.float32), weighed.astype(np.float32)


def images_again(images: Any, devices: int = 1) -> Any:
    """How many of the images of a batch, its first, come again as int8 would have them.

    Args:
        images: in the batch, a number or a tensor.
        devices: that train; their shares are filled up to an equal size.
    """
    return filled_count(images, devices) // devices // ONE_IN * devices


def paired_batches(
    exact: tf.data.Dataset, rounded: tf.data.Dataset, targets: Targets, batch_size: int, devices: int = 1
) -> tf.data.Dataset:
    """(features, labels, weights) batches: images as float features, then the first of them as int8 would have them.

    Args:
        exact: batches of features.
        rounded: of the same images.
        targets: of the images.
        batch_size: images.
        devices: that train; each is given an equal share of the images, and the first of these again.
    """
    taught = tf.data.Dataset.from_tensor_slices(targets).batch(batch_size)

    def join(of_exact: tf.Tensor, of_rounded: tf.Tensor, target: Any) -> Any:
        pairs = images_again(tf.shape(of_exact)[0])
        both = tf.nest.map_structure(lambda values: tf.concat([values, values[:pairs]], axis=0), target)
        return tf.concat([of_exact, of_rounded[:pairs]], axis=0), *both

    if devices == 1:
        return tf.data.Dataset.zip(exact, rounded, taught).map(join)
    return tf.data.Dataset.zip(exact, rounded, taught).map(partial(_join_shares, devices))


def _join_shares(devices: int, of_exact: tf.Tensor, of_rounded: tf.Tensor, target: Any) -> Any:
    """One batch of `paired_batches`, the share of one device after the other."""
    rows = tf.shape(of_exact)[0]
    chosen, share = filled(rows, devices)
    total = tf.size(chosen)
    pairs = images_again(rows, devices)
    # Places in the filled batch, a row a device; the first of the batch come twice, as on one device.
    again, once = (tf.reshape(places, (devices, -1)) for places in (tf.range(pairs), tf.range(pairs, total)))
    own = tf.concat([again, once], axis=1)
    places = tf.reshape(tf.concat([own, again], axis=1), [-1])
    is_again = tf.reshape(tf.concat([tf.zeros_like(own), tf.ones_like(again)], axis=1), [-1])
    images = tf.gather(chosen, places)
    both = tf.stack([of_exact, of_rounded], axis=1)
    counts = share * tf.cast(places < rows, tf.float32)  # what fills up weighs nothing
    labels, weights = tf.nest.map_structure(lambda values: tf.gather(values, images), target)
    weighed = {
        name: values * tf.reshape(counts, [-1, *[1] * (len(values.shape) - 1)]) for name, values in weights.items()
    }
    return tf.gather_nd(both, tf.stack([images, is_again], axis=1)), labels, weighed
