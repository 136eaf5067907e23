"""A network that learns from pairs: what it reads of an image in float, and what it would read of it in int8.

The loss is that of the float answer, plus the squared distance between both answers. So the network keeps to what int8
does not disturb, and its int8 files decide as it does.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from train.int8.fake_quant import Disagreement, FakeInt8, Logit, OnGrid
from train.int8.keras_graph import Inputs, Tensor, call, layers_below, layers_in_order, run_layers
from train.int8.layer_kinds import WEIGHTED, is_rounded

# Of the squared distance of logits beside the cross-entropy of one image. Chosen on the validation radiographs of
# multiregion, int8 against float with min-max ranges: with 1, 12 and 50 the 99th percentile of the change was 0.11
# (before equalisation), 0.05 and 0.04, and the AUC of the network itself 0.885, 0.916 and 0.932; with 50 logits draw
# together, and more radiographs come to lie next to the threshold.
AGREEMENT_WEIGHT = 20.0

_BATCH = 16  # images


@dataclass(frozen=True)
class PairedNetwork:
    """The upper part of a network, twice; its layers are those of the network itself."""

    training: keras.Model  # (exact, rounded) inputs -> probability of the exact; the loss has the distance in it
    exact: keras.Model  # exact inputs -> probability


def pair_from(model: keras.Model, seam: str) -> PairedNetwork:
    """The part of a network above a layer, made to learn from pairs.

    Args:
        model: flat, its last layer dense with one unit and a sigmoid. Its trainable layers are trained.
        seam: name of the layer whose output, exact and rounded, is the input.
    """
    start = model.get_layer(seam).output
    wrapped = {
        layer.name: (Logit if layer is model.layers[-1] else OnGrid)(layer)
        for layer in model.layers
        if isinstance(layer, WEIGHTED) and layer.trainable
    }
    logit = wrapped[model.layers[-1].name]
    exact_in, rounded_in = (keras.Input(start.shape[1:], name=name) for name in ("exact", "rounded"))
    exact = run_layers(model, start, exact_in, lambda layer, inputs: _apply(layer, inputs, wrapped))
    rounded = run_layers(model, start, rounded_in, lambda layer, inputs: _as_int8(layer, inputs, wrapped))
    answer = logit(_dropout(model)(exact))
    answer = Disagreement(AGREEMENT_WEIGHT)(answer, logit(exact), logit(rounded))
    training = keras.Model([exact_in, rounded_in], ops.sigmoid(answer), name=f"{model.name}_paired")
    return PairedNetwork(training, keras.Model(exact_in, ops.sigmoid(logit(exact)), name=f"{model.name}_exact"))


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


def _apply(layer: layers.Layer, inputs: Inputs, wrapped: dict[str, layers.Layer]) -> Tensor:
    """The output of a layer in float, on the grid where it trains; the logit's input in place of the probability."""
    if isinstance(layer, layers.Dropout) or isinstance(wrapped.get(layer.name), Logit):
        return inputs[0]
    return call(wrapped.get(layer.name, layer), inputs)


def _as_int8(layer: layers.Layer, inputs: Inputs, wrapped: dict[str, layers.Layer]) -> Tensor:
    output = _apply(layer, inputs, wrapped)
    # The logit is rounded by export, in a way of its own.
    return FakeInt8()(output) if is_rounded(layer) and not isinstance(wrapped.get(layer.name), Logit) else output


def _dropout(model: keras.Model) -> layers.Layer:
    """The dropout before the last layer; none changes nothing."""
    below = layers_below(model.layers[-1])[0]
    return below if isinstance(below, layers.Dropout) else layers.Identity()
