"""What a tensor lies between whatever the image, as far as its layers tell: a mean of probabilities is one."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from export.inputs.foreign.operation_layer import ChannelSlice, OperationLayer
from train.int8.keras_graph import tensors_read, writer

Bounds = tuple[float, float]

_ANY: Bounds = (-math.inf, math.inf)
_ROUNDING = 1e-6
_OF_FUNCTIONS: dict[str, Bounds] = {
    **dict.fromkeys(("sigmoid", "softmax", "hard_sigmoid", "sparse_sigmoid", "sparsemax"), (0.0, 1.0)),
    **dict.fromkeys(("tanh", "softsign", "hard_tanh"), (-1.0, 1.0)),
    **{"relu": (0.0, math.inf), "relu6": (0.0, 6.0), "softplus": (0.0, math.inf)},
}
# Each value that these write is one that they read, or lies between such.
_MERGING = (layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate)
_MOVING = (layers.Flatten, layers.Reshape, layers.Permute, ChannelSlice)
_POOLING = tuple(getattr(layers, f"Global{kind}Pooling{axes}D") for kind in ("Average", "Max") for axes in (1, 2))
_OPERATIONS = ("Mean", "Max", "Min", "Stack", "GetItem", "Squeeze", "ExpandDims", "Reshape", "Transpose", "Split")


def is_share(tensor: Any) -> bool:
    """Whether a tensor of a flat network cannot leave 0 to 1, but for rounding."""
    lowest, highest = _bounds(tensor)
    return lowest >= -_ROUNDING and highest <= 1.0 + _ROUNDING


def _bounds(tensor: Any) -> Bounds:
    layer = writer(tensor)
    own = _OF_FUNCTIONS.get(_function(layer))
    if own is not None:
        return own
    read = tensors_read(layer)
    if isinstance(layer, (*_MERGING, *_MOVING, *_POOLING)) or _operation(layer) in _OPERATIONS:
        found = [_bounds(one) for one in read]
        return min(low for low, _ in found), max(high for _, high in found)
    if isinstance(layer, layers.Rescaling):
        return _of_sum(_bounds(read[0]), np.ravel(layer.scale)[:, np.newaxis], np.ravel(layer.offset))
    if isinstance(layer, layers.Dense) and layer.activation is keras.activations.linear:
        kernel, *bias = layer.get_weights()
        return _of_sum(_bounds(read[0]), kernel.T, bias[0] if bias else np.zeros(1))
    if isinstance(layer, layers.Add):
        found = [_bounds(one) for one in read]
        return sum(low for low, _ in found), sum(high for _, high in found)
    if isinstance(layer, layers.Multiply):
        found = [_bounds(one) for one in read]
        return (0.0, math.prod(high for _, high in found)) if all(low >= 0 for low, _ in found) else _ANY
    return _ANY


def _of_sum(each: Bounds, factors: Any, offsets: Any) -> Bounds:
    """Of sums of values between the same bounds: `factors` (sums, values), `offsets` (sums,)."""
    if not all(map(math.isfinite, each)):
        return _ANY
    ends = np.asarray(factors, np.float64)[..., np.newaxis] * each
    return float((ends.min(-1).sum(-1) + offsets).min()), float((ends.max(-1).sum(-1) + offsets).max())


def _function(layer: layers.Layer) -> str:
    if isinstance(layer, layers.Softmax):
        return "softmax"
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def _operation(layer: layers.Layer) -> str:
    return type(layer.operation).__name__ if isinstance(layer, OperationLayer) else ""
