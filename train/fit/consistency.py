"""What a network would read of an image in int8, beside what it reads in float: pairs that it learns to answer alike.

A batch holds images as float features, then some of them again as int8 would have them. The loss is that of all
answers, plus the squared distance between both answers to an image. So the network keeps to what int8 does not disturb,
and its int8 files decide as it does. Nearly all that rounding does to an answer it does in the frozen part: see
docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from train.int8.fake_quant import FakeInt8
from train.int8.keras_graph import Inputs, Tensor, call, layers_in_order, run_layers
from train.int8.layer_kinds import is_rounded

# Of the squared distance of logits beside the cross-entropy of one image; see docs/experiments.md.
AGREEMENT_WEIGHT = 3.0

# Of the images of a batch one in so many comes twice: agreement needs few, and each costs as much as another image.
ONE_IN = 3

_BATCH = 16  # images


def pairs_in(rows: Tensor) -> Tensor:
    """How many of the rows of a batch, its last, are its first images again: one in ONE_IN images."""
    return rows // (ONE_IN + 1)


@dataclass(frozen=True)
class Apart:
    """A tensor of images, and that of their pairs, each on its own way through a network."""

    images: Tensor
    pairs: Tensor

    def together(self) -> Tensor:
        """The rows of a batch: images, then pairs."""
        return layers.Concatenate(axis=0)([self.images, self.pairs])


class TakenApart(layers.Layer):
    """The images and the pairs of a batch as two tensors."""

    def call(self, rows: Tensor) -> list[Tensor]:
        """[images, pairs] of (rows, ...)."""
        images = ops.shape(rows)[0] - pairs_in(ops.shape(rows)[0])
        return [rows[:images], rows[images:]]


def call_apart(layer: Callable[..., Tensor], inputs: Sequence[Apart], rounds: bool) -> Apart:
    """The output of a layer for images as it is, and for their pairs as int8 would have it.

    Args:
        layer: called twice.
        inputs: what it reads.
        rounds: whether int8 rounds its output.
    """
    pairs = call(layer, [one.pairs for one in inputs])
    return Apart(call(layer, [one.images for one in inputs]), FakeInt8()(pairs) if rounds else pairs)


class PairedDropout(layers.Layer):
    """Dropout of whole channels, the same of an image and its pair: what differs between them is rounding alone.

    Args:
        rate: fraction of the channels dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._seeds = keras.random.SeedGenerator()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """(rows, ..., c), channels dropped in training."""
        if not training:
            return inputs
        shape = ops.shape(inputs)
        pairs = pairs_in(shape[0])
        images = (shape[0] - pairs, *[1] * (len(inputs.shape) - 2), shape[-1])
        kept = ops.cast(keras.random.uniform(images, seed=self._seeds) >= self.rate, inputs.dtype) / (1.0 - self.rate)
        return inputs * ops.concatenate([kept, kept[:pairs]])


class Disagreement(layers.Layer):
    """Adds the squared distance of the logits of images and their pairs to the loss, and hands them on.

    Args:
        weight: of the distance in the loss.
    """

    def __init__(self, weight: float) -> None:
        super().__init__(name="disagreement")
        self.weight = weight

    def call(self, opinions: Tensor, training: bool = False) -> Tensor:
        """(rows, k), as they came: k opinions, whose mean is the answer."""
        if training:
            rows = ops.shape(opinions)[0]
            pairs = pairs_in(rows)
            distance = opinions[:pairs] - opinions[rows - pairs :]
            of_answers, of_opinions = ops.square(ops.mean(distance, axis=-1)), ops.mean(ops.square(distance), axis=-1)
            # Opinions apart as well: so none leans on errors of another that happen to be opposite.
            mean = ops.sum(of_answers + of_opinions) / 2.0 / ops.cast(ops.maximum(pairs, 1), opinions.dtype)
            self.add_loss(self.weight * mean)
        return opinions


def rounded_like_int8(model: keras.Model, outputs: list[str], bounds: dict[str, tuple[float, float]]) -> list[Tensor]:
    """Outputs of layers of a network, from its own input, with every tensor on the way rounded as int8 would.

    Args:
        model: flat.
        outputs: names of layers.
        bounds: (smallest, largest) value of the output of each layer that is rounded, by name.
    """
    found: dict[str, Tensor] = {}

    def make(layer: layers.Layer, inputs: Inputs) -> Tensor:
        output = call(layer, inputs)
        if layer.name in bounds:
            output = FakeInt8(bounds[layer.name])(output)
        found[layer.name] = output
        return output

    run_layers(model, model.inputs[0], model.inputs[0], make)
    return [found[name] for name in outputs]


def measure_bounds(model: keras.Model, upto: str, images: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """(smallest, largest) value of each tensor that int8 rounds, by the name of its layer, up to a layer.

    Args:
        model: flat.
        upto: name of the last layer.
        images: (n, S, S, 3), all in memory at once: a few dozen.
    """
    order = [layer.name for layer in layers_in_order(model)]
    names = [name for name in order[: order.index(upto) + 1] if is_rounded(model.get_layer(name))]
    tensors = [model.get_layer(name).output for name in names]
    extremes = keras.Model(
        model.inputs[0], [bound for tensor in tensors for bound in (ops.min(tensor), ops.max(tensor))]
    )
    batches = [extremes.predict_on_batch(images[row : row + _BATCH]) for row in range(0, len(images), _BATCH)]
    found = np.array(batches, np.float64)
    lowest, highest = found[:, 0::2].min(axis=0), found[:, 1::2].max(axis=0)
    # int8 must hold zero exactly; where bounds leave it out, fake quantisation moves them and clips the other end.
    lowest, highest = np.minimum(lowest, 0.0), np.maximum(highest, 0.0)
    return {name: (float(low), float(high)) for name, low, high in zip(names, lowest, highest, strict=True)}
