"""What a network does to its image first, measured: which range it expects, and the same from grey bytes.

A grey image repeated over channels, scaled, shifted, reordered: whatever stands before the first real layer is one
factor and one offset for each channel. They are found by trying every grey value, not by the names of layers, so it
does not matter how somebody wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from export.inputs.foreign.precision import flat_in_float64
from train.int8.batchnorm_folding import ConstantPadding, same_border
from train.int8.keras_graph import Inputs, again, call, layers_in_order, run_layers, tensors_read

RANGES = {"0..1": (0.0, 1.0), "0..255": (0.0, 255.0), "-1..1": (-1.0, 1.0)}

_EXACT = 1e-9  # relative: calculated in float64, a factor and an offset fit to its rounding or not at all
_MOST_CHANNELS = 16  # of what is still an image rather than features
_HALF_WIDTHS = (0.3, 6.0)  # of what a network calculates with after scaling: 0 to 1, -1 to 1, deviations
_MOST_OFF_CENTRE = 1.6  # half-widths that its middle may be from zero


@dataclass(frozen=True)
class Affine:
    """An image that is `factor` * grey + `offset` in each channel, grey from 0 to 1."""

    factor: NDArray[np.float64]  # (channels,)
    offset: NDArray[np.float64]  # (channels,)
    shape: tuple[int, ...]  # of the image: (height, width, channels), or (height, width) of one channel


def expected_range(model: keras.Model) -> str | None:
    """The range of values that the network's first layers are made for, of RANGES; None where they do not scale."""
    start = measured_scaling(model, (0.0, 1.0))
    last = list(start.values())[-1]
    if np.allclose(last.factor, 1.0) and np.allclose(last.offset, 0.0):
        return None
    fitting = {}
    for name, (low, high) in RANGES.items():
        half = np.abs(last.factor) * (high - low) / 2
        centre = np.abs(last.factor * (high + low) / 2 + last.offset)
        shifted_only = np.allclose(last.factor, 1.0) and half.max() > _HALF_WIDTHS[1]  # mean of 0 to 255 taken off
        if (centre <= _MOST_OFF_CENTRE * half).all() and half.min() >= _HALF_WIDTHS[0]:
            if half.max() <= _HALF_WIDTHS[1] or shifted_only:
                fitting[name] = float((centre / half).max())
    return min(fitting, key=fitting.__getitem__) if fitting else None


def measured_scaling(model: keras.Model, value_range: tuple[float, float]) -> dict[str, Affine]:
    """The layers whose output is still the grey image scaled, by name in order, the input first.

    Args:
        model: flat, in float32.
        value_range: what grey 0 and 1 are in the network's own input.
    """
    exact = flat_in_float64(model)
    low, high = value_range
    _, height, width, channels = exact.inputs[0].shape
    grey = _all_grey_values(height, width)
    values = {id(exact.inputs[0]): np.repeat(low + (high - low) * grey, channels, axis=-1)}
    found = {"": Affine(np.full(channels, high - low), np.full(channels, low), (height, width, channels))}
    for layer in layers_in_order(exact):
        read = tensors_read(layer)
        shape: tuple[int, ...] = layer.output.shape if read else ()
        if not read or not all(id(tensor) in values for tensor in read) or len(shape) not in (3, 4):
            continue  # one channel taken out of an image has three axes
        if shape[1:3] != (height, width) or (len(shape) == 4 and shape[3] > _MOST_CHANNELS):
            continue
        made = np.asarray(call(layer, [keras.ops.convert_to_tensor(values[id(tensor)]) for tensor in read]))
        fitted = _fit(grey, made.reshape(*grey.shape[:3], -1))
        if fitted is not None:
            found[layer.name], values[id(layer.output)] = Affine(*fitted, shape[1:]), made
    return found


def from_grey(model: keras.Model, value_range: tuple[float, float]) -> keras.Model:
    """The flat network over one grey channel, 0 to 1, its scaling folded into the first layers that do more.

    Args:
        model: flat, its input (S, S, 1 or 3) in `value_range`.
        value_range: as in `measured_scaling`.
    """
    scaling = measured_scaling(model, value_range)
    _, height, width, _ = model.inputs[0].shape
    grey = keras.Input((height, width, 1), name="grey")
    shown: dict[int, Any] = {}

    def put(layer: layers.Layer, inputs: Inputs) -> Any:
        if layer.name in scaling:
            return _Scaled(scaling[layer.name], layer.name)
        if isinstance(inputs[0], _Scaled) and len(inputs) == 1 and _foldable(layer):
            return _first_convolution(layer, grey, inputs[0].affine)
        return again(layer, [_shown(one, grey, shown) if isinstance(one, _Scaled) else one for one in inputs])

    return _rebuilt(model, grey, _Scaled(scaling[""], "input"), put)


class OnesChannel(layers.Layer):
    """A second channel of ones beside the image: what zero padding leaves of it says where the image ends."""

    def call(self, images: Any) -> Any:
        """(N, S, S, 2)."""
        return keras.ops.pad(images, [(0, 0), (0, 0), (0, 0), (0, 1)], constant_values=1.0)


class _Scaled:
    """Stands for a tensor that is the grey image scaled, until something needs it."""

    def __init__(self, affine: Affine, name: str) -> None:
        self.affine, self.name = affine, name


def _rebuilt(model: keras.Model, grey: Any, start: _Scaled, put: Any) -> keras.Model:
    output = run_layers(model, model.inputs[0], start, put)
    if isinstance(output, _Scaled):
        raise ModelError(f"{model.name}: does nothing but scale its image; a classifier was expected")
    return keras.Model(grey, output, name=model.name)


def _shown(scaled: _Scaled, grey: Any, shown: dict[int, Any]) -> Any:
    """The scaled image itself, made once by a convolution of one pixel."""
    if id(scaled) not in shown:
        factor, offset, image = scaled.affine.factor, scaled.affine.offset, grey
        if len(factor) > 1 or factor[0] != 1.0 or offset[0] != 0.0:
            widening = layers.Conv2D(len(factor), 1, name=f"{scaled.name}_scaled")
            image = widening(grey)
            widening.set_weights([factor.reshape(1, 1, 1, -1), offset])
        if len(scaled.affine.shape) == 2:
            image = layers.Reshape(scaled.affine.shape, name=f"{scaled.name}_rows")(image)
        shown[id(scaled)] = image
    return shown[id(scaled)]


def _foldable(layer: layers.Layer) -> bool:
    return type(layer) is layers.Conv2D and layer.groups == 1 and layer.data_format == "channels_last"


def _first_convolution(layer: layers.Conv2D, grey: Any, affine: Affine) -> Any:
    """A convolution of the scaled image as one of the grey image: factors into its kernel, offsets into its bias."""
    kernel, *bias = (np.asarray(values, np.float64) for values in layer.get_weights())
    of_grey = np.einsum("hwck,c->hwk", kernel, affine.factor)[:, :, np.newaxis]
    of_offset = np.einsum("hwck,c->hwk", kernel, affine.offset)[:, :, np.newaxis]
    settings, images = {**layer.get_config(), "use_bias": True}, grey
    base = bias[0] if bias else np.zeros(kernel.shape[-1])
    if layer.padding == "same" and np.any(affine.offset != 0) and any(map(any, same_border(layer))):
        level = _border_level(affine)
        if level is None:  # no grey value is black in every channel: the ones say where the image ends
            images = OnesChannel(name=f"{layer.name}_ones")(grey)
            return _convolution(layer, settings, images, np.concatenate([of_grey, of_offset], axis=2), base)
        images = ConstantPadding(same_border(layer), level, name=f"{layer.name}_border")(grey)
        settings["padding"] = "valid"
    return _convolution(layer, settings, images, of_grey, base + of_offset.sum(axis=(0, 1, 2)))


def _convolution(layer: Any, settings: dict[str, Any], images: Any, kernel: Any, bias: Any) -> Any:
    new = type(layer).from_config(settings)
    output = new(images)
    new.set_weights([kernel, bias])
    return output


def _border_level(affine: Affine) -> float | None:
    """The grey value, 0 to 1, that is zero in every channel after scaling; None where there is none."""
    if not affine.factor.all():
        return None
    levels = -affine.offset / affine.factor
    same = np.ptp(levels) <= 1e-6 and -1e-9 <= levels[0] <= 1 + 1e-9
    return float(np.clip(levels[0], 0.0, 1.0)) if same else None


def _all_grey_values(height: int, width: int) -> NDArray[np.float64]:
    """(n, H, W, 1): every value of grey from 0 to 1 at random places, at least once."""
    count = max(2, -(-512 // (height * width)))
    values = np.arange(count * height * width) % 256
    return np.random.default_rng(0).permutation(values).reshape(count, height, width, 1) / 255.0


def _fit(
    grey: NDArray[np.float64], made: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The factor and offset of each channel; None where no such pair gives what was made."""
    x, y = grey.ravel(), made.reshape(-1, made.shape[-1])
    factor = (x - x.mean()) @ y / ((x - x.mean()) @ x)
    offset = y.mean(axis=0) - factor * x.mean()
    off = np.abs(np.outer(x, factor) + offset - y).max()
    return (factor, offset) if off <= _EXACT * max(1.0, float(np.abs(y).max())) else None
