"""The network as a chain of weighted layers: batch normalisation and input scaling folded into the convolutions.

Recipes work on this form: its weights are those that get rounded, its tensors those that get quantised. Both foldings
are exact: normalisation in inference mode is one factor and one offset a channel, and a convolution of a * x + b is
that of x with other weights, where the border, zero after the scaling, is -b / a before it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from train.int8.keras_graph import Inputs, again, followers, rebuild
from train.int8.layer_kinds import CONVOLUTIONS


class ConstantPadding(layers.Layer):
    """A border of one value around each image.

    Args:
        border: ((top, bottom), (left, right)), pixels.
        value: of the border.
    """

    def __init__(self, border: Any, value: float, **options: Any) -> None:
        super().__init__(**options)
        self.border = tuple(tuple(int(side) for side in sides) for sides in border)
        self.value = value

    def call(self, images: Any) -> Any:
        """The padded images."""
        return keras.ops.pad(images, [(0, 0), *self.border, (0, 0)], constant_values=self.value)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "border": self.border, "value": self.value}


def folded(model: keras.Model) -> keras.Model:
    """The same function without batch normalisation, input scaling and dropout: new layers under their old names.

    Args:
        model: a flat functional graph in which every layer is used once.

    Raises:
        ModelError: it is not such a graph.
    """
    following = followers(model)
    scaled: dict[str, tuple[float, float]] = {}  # convolutions whose input scaling they take in: (factor, offset)
    taken_in: set[str] = set()

    def make(layer: layers.Layer, inputs: Inputs) -> keras.KerasTensor:
        (after,) = following[layer.name] if len(following[layer.name]) == 1 else (None,)
        if layer.name in taken_in or isinstance(layer, layers.Dropout):
            return inputs[0]
        if isinstance(layer, layers.Rescaling) and isinstance(after, layers.Conv2D):
            scaled[after.name] = (float(layer.scale), float(layer.offset))
            return inputs[0]
        if isinstance(layer, CONVOLUTIONS):
            normalisation = after if _is_linear(layer) and isinstance(after, layers.BatchNormalization) else None
            if normalisation is not None:
                taken_in.add(normalisation.name)
            return _convolution(layer, inputs[0], normalisation, scaled.get(layer.name))
        return again(layer, inputs)

    return rebuild(model, make)


def foldable(model: keras.Model) -> keras.Model | None:
    """The folded network; None where it cannot be had (see `folded`)."""
    try:
        return folded(model)
    except ModelError:
        return None


def _is_linear(layer: layers.Layer) -> bool:
    return layer.activation is keras.activations.linear


def _convolution(
    layer: layers.Layer,
    images: keras.KerasTensor,
    normalisation: layers.BatchNormalization | None,
    scaling: tuple[float, float] | None,
) -> keras.KerasTensor:
    """The output of a convolution with bias that does all three."""
    kernel, bias = _kernel_and_bias(layer)
    settings = {**layer.get_config(), "use_bias": True}
    if scaling is not None:
        factor, offset = scaling
        bias = bias + offset * kernel.sum(axis=(0, 1, 2))
        kernel = kernel * factor
        if settings["padding"] == "same":
            images = ConstantPadding(same_border(layer), -offset / factor, name=f"{layer.name}_border")(images)
            settings["padding"] = "valid"
    if normalisation is not None:
        gain, shift = _gain_and_shift(normalisation)
        kernel, bias = kernel * _by_output(layer, gain), bias * gain + shift
    new = type(layer).from_config(settings)
    output = new(images)
    new.set_weights([kernel, bias])
    return output


def _kernel_and_bias(layer: layers.Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kernel, *bias = (np.asarray(weights, np.float64) for weights in layer.get_weights())
    return kernel, bias[0] if bias else np.zeros(layer.output.shape[-1])


def _by_output(layer: layers.Layer, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of each output channel, shaped to multiply the kernel."""
    if isinstance(layer, layers.DepthwiseConv2D):
        return values.reshape(-1, layer.depth_multiplier)
    return values


def _gain_and_shift(layer: layers.BatchNormalization) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normalisation in inference mode as a factor and an offset of each channel (arXiv:1502.03167)."""
    mean, variance = np.asarray(layer.moving_mean, np.float64), np.asarray(layer.moving_variance, np.float64)
    gamma = np.asarray(layer.gamma, np.float64) if layer.scale else np.ones_like(mean)
    beta = np.asarray(layer.beta, np.float64) if layer.center else np.zeros_like(mean)
    gain = gamma / np.sqrt(variance + layer.epsilon)
    return gain, beta - mean * gain


def same_border(layer: layers.Conv2D) -> tuple[tuple[int, int], tuple[int, int]]:
    """The border that padding `same` adds, by TensorFlow's rule: the odd pixel at the bottom and on the right."""
    borders = []
    for side, kernel, stride, dilation in zip(
        layer.input.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        extent = (kernel - 1) * dilation + 1
        total = max((-(-side // stride) - 1) * stride + extent - side, 0)
        borders.append((total // 2, total - total // 2))
    return borders[0], borders[1]
