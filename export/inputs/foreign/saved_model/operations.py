"""Each operation of TensorFlow that a SavedModel may answer with, and the layer of Keras that does the same.

To add one: a function that makes its layer, and a line in `LAYERS`. Whatever is made is held to the graph itself, in
float64, before anything is exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from export.inputs.foreign.operation_layer import ChannelSlice
from export.inputs.foreign.saved_model.tensor_names import full
from export.inputs.foreign.saved_model.values import New, Value
from train.int8.batchnorm_folding import ConstantPadding

_SPATIAL = (1, 2)  # axes of images


class Unknown(Exception):
    """An operation is called in a way that no layer is known for; says which."""


@dataclass(frozen=True)
class Operation:
    """One operation of a graph, ready to become a layer."""

    node: Any  # of TensorFlow
    inputs: list[Value | NDArray[Any]]  # in order; arrays where no image changes them
    shape: tuple[int | None, ...]  # of what it writes for one image
    new: New
    writer: Callable[[str], Any]  # the node that writes a tensor of the graph; None for constants
    constant: Callable[[str], NDArray[Any] | None]  # the value of a tensor of the graph that no image changes

    def tensor(self, place: int = 0) -> Any:
        """The input at a place, as a tensor of Keras."""
        value = self.inputs[place]
        if not isinstance(value, Value):
            raise Unknown("of a constant")
        return value.tensor(self.new)

    def array(self, place: int) -> NDArray[Any]:
        """The input at a place, which no image may change."""
        value = self.inputs[place]
        if isinstance(value, Value):
            raise Unknown(f"whose argument {place + 1} depends on the image")
        return value

    def attribute(self, name: str) -> Any:
        """An attribute of the node as a number, text or list of numbers."""
        value = self.node.attr[name]
        kind = value.WhichOneof("value")
        if kind == "list":
            return [int(one) for one in value.list.i]
        if kind == "s":
            return value.s.decode()
        return getattr(value, kind) if kind else None

    def require_channels_last(self) -> None:
        """Refuses channels first."""
        if self.attribute("data_format") not in (None, "NHWC"):
            raise Unknown("with channels first")


def _convolution(one: Operation) -> Value:
    kernel = np.asarray(one.array(1), np.float64)
    images, settings = _window(one)
    depthwise = one.node.op == "DepthwiseConv2dNative"
    if depthwise:
        layer = one.new(layers.DepthwiseConv2D, kernel.shape[:2], depth_multiplier=kernel.shape[3], **settings)
    else:
        groups = images.shape[-1] // kernel.shape[2]
        layer = one.new(layers.Conv2D, kernel.shape[3], kernel.shape[:2], groups=groups, **settings)
    output = layer(images)
    return Value(output, (layer, kernel))


def _window(one: Operation) -> tuple[Any, dict[str, Any]]:
    """(images, with an explicit border around them; strides, padding and dilation for a layer)."""
    one.require_channels_last()
    images, padding = one.tensor(0), one.attribute("padding")
    if padding == "EXPLICIT":
        border = np.reshape(one.attribute("explicit_paddings"), (4, 2))
        images = _bordered(one, images, border, 0.0)
        padding = "VALID"
    settings = {"strides": tuple(one.attribute("strides")[1:3]), "padding": padding.lower()}
    settings["dilation_rate"] = tuple((one.attribute("dilations") or [1, 1, 1, 1])[1:3])
    before = one.writer(one.node.input[0])
    steps = one.constant(before.input[1]) if before is not None and before.op == "SpaceToBatchND" else None
    if steps is not None:
        settings["dilation_rate"] = tuple(map(int, steps))
    return images, settings


def _spread(one: Operation) -> Value:
    """What comes before a dilated convolution: the border alone; `_window` has the steps from here."""
    if one.array(1).shape != (2,):
        raise Unknown("of other axes than rows and columns")
    return Value(_bordered(one, one.tensor(), np.pad(one.array(2), ((1, 1), (0, 0))), 0.0))


def _gathered(one: Operation) -> Value:
    """What comes behind a dilated convolution: a border is cut off."""
    before, crops = one.writer(one.node.input[0]), np.asarray(one.array(2), int)
    if before is None or before.op not in ("Conv2D", "DepthwiseConv2dNative"):
        raise Unknown("of no convolution")
    return Value(
        one.new(layers.Cropping2D, tuple(map(tuple, crops.tolist())))(one.tensor()) if crops.any() else one.tensor()
    )


def _transposed_convolution(one: Operation) -> Value:
    one.require_channels_last()
    kernel = np.asarray(one.array(1), np.float64)
    padding, dilation = one.attribute("padding"), one.attribute("dilations")
    if padding == "EXPLICIT" or (dilation and set(dilation) != {1}):
        raise Unknown("with a border or a dilation of its own")
    strides = tuple(one.attribute("strides")[1:3])
    layer = one.new(layers.Conv2DTranspose, kernel.shape[2], kernel.shape[:2], strides, padding.lower(), use_bias=False)
    output = layer(one.tensor(2))
    if tuple(output.shape[1:]) != one.shape[1:]:
        raise Unknown(f"to {one.shape[1:]}")
    layer.set_weights([kernel])
    return Value(output)


def _dense(one: Operation) -> Value:
    kernel = np.asarray(one.array(1), np.float64)
    if one.attribute("transpose_a"):
        raise Unknown("of a transposed tensor")
    kernel = kernel.T if one.attribute("transpose_b") else kernel
    layer = one.new(layers.Dense, kernel.shape[1])
    return Value(layer(one.tensor(0)), (layer, kernel))


def _sum(one: Operation) -> Value:
    return _both(one, layers.Add, lambda value, constant, first: value.scaled(1.0, constant))


def _difference(one: Operation) -> Value:
    return _both(
        *(one, layers.Subtract),
        lambda value, constant, first: value.scaled(1.0, -constant) if first else value.scaled(-1.0, constant),
    )


def _negative(one: Operation) -> Value:
    return _passed(one).scaled(-1.0, 0.0)


def _product(one: Operation) -> Value:
    for place in (0, 1):
        value = one.inputs[place]
        if isinstance(value, Value) and _is_gelu(one, one.node.input[place], one.node.input[1 - place]):
            # What is gated is half of what the function takes.
            return Value(one.new(layers.Activation, "gelu")(value.scaled(2.0, 0.0).tensor(one.new)))
        tensor, gate = full(one.node.input[place]), one.writer(one.node.input[1 - place])
        function = _gating(one, gate, tensor)
        if function is not None:
            return Value(one.new(layers.Activation, function)(one.tensor(place)))
    return _both(one, layers.Multiply, lambda value, constant, first: value.scaled(constant, 0.0))


def _quotient(one: Operation) -> Value:
    if not isinstance(one.inputs[0], Value) or isinstance(one.inputs[1], Value):
        raise Unknown("by what depends on the image")
    return _both(one, layers.Multiply, lambda value, constant, first: value.scaled(1.0 / constant, 0.0))


def _both(one: Operation, joining: Any, scale: Callable[[Value, NDArray[np.float64], bool], Value]) -> Value:
    """An operation on two tensors as a layer that joins them, or on a tensor and a constant as its scaling."""
    left, right = one.inputs
    if isinstance(left, Value) and isinstance(right, Value):
        return Value(one.new(joining)([one.tensor(0), one.tensor(1)]))
    value, constant = (left, right) if isinstance(left, Value) else (right, left)
    if not isinstance(value, Value) or isinstance(constant, Value):
        raise Unknown("of constants")
    return scale(value, _by_channel(constant, value.channels), isinstance(left, Value))


def _by_channel(constant: NDArray[Any], channels: int) -> NDArray[np.float64]:
    """A constant as one number for each channel."""
    values = np.asarray(constant, np.float64)
    if values.size == 1:
        return np.full(channels, values.item())
    if values.size != channels or values.shape[-1] != channels:
        raise Unknown(f"of a constant of shape {values.shape}")
    return values.ravel()


def _gating(one: Operation, gate: Any, tensor: str) -> str | None:
    """The function that a tensor times a gate is: `silu`, or `hard_silu`, whose gate is relu6(x + 3) / 6."""
    if gate is None:
        return None
    if gate.op == "Sigmoid":
        return "silu" if tensor in (full(gate.input[0]), _times_one(one, gate.input[0])) else None
    relu, sixth = _tensor_and_number(one, gate)
    is_sixth = sixth is not None and np.isclose(1.0 / sixth if gate.op == "RealDiv" else sixth, 1 / 6)
    if gate.op not in ("Mul", "RealDiv") or not is_sixth or relu is None or relu.op != "Relu6":
        return None
    total = one.writer(relu.input[0])
    if total is None or total.op not in ("AddV2", "Add") or _tensor_and_number(one, total)[1] != 3.0:
        return None
    return "hard_silu" if tensor in map(full, total.input) else None


def _is_gelu(one: Operation, half: str, gate: str) -> bool:
    """Whether x / 2 is gated by 1 + erf(x / sqrt(2)), or by erfc(-x / sqrt(2)), which is the same."""
    node, sign = one.writer(gate), -1.0
    if node is not None and node.op in ("AddV2", "Add"):
        node, added = _tensor_and_number(one, node)
        sign = 1.0 if added == 1.0 else 0.0
    if node is None or node.op != {-1.0: "Erfc", 1.0: "Erf"}.get(sign):
        return False
    halves, inner = _factors(one, half), _factors(one, node.input[0])
    wanted = sign / math.sqrt(2.0)
    return any(np.isclose(halves[x], 0.5) and np.isclose(inner[x], wanted) for x in halves.keys() & inner.keys())


def _factors(one: Operation, tensor: str) -> dict[str, float]:
    """What a tensor is a number times of: each such tensor with its number, itself first."""
    found, factor, node = {full(tensor): 1.0}, 1.0, one.writer(tensor)
    while node is not None and node.op in ("Mul", "RealDiv", "Neg"):
        below, number = (node.input[0], -1.0) if node.op == "Neg" else _tensor_times(one, node)
        if number is None:
            break
        factor *= number
        found[full(below)] = factor
        node = one.writer(below)
    return found


def _tensor_times(one: Operation, node: Any) -> tuple[str, float | None]:
    """(tensor, number) of a product of both, or of a quotient by a number; None as the number of others."""
    for place in (0, 1):
        constant = one.constant(node.input[1 - place])
        if constant is not None and constant.size == 1 and (node.op == "Mul" or place == 0):
            number = float(constant.item())
            return node.input[place], 1.0 / number if node.op == "RealDiv" else number
    return "", None


def _times_one(one: Operation, tensor: str) -> str | None:
    """The tensor that another is the product with 1 of, as swish without a factor has it."""
    node = one.writer(tensor)
    if node is None or node.op != "Mul" or _tensor_and_number(one, node)[1] != 1.0:
        return None
    return next(full(name) for name in node.input if one.constant(name) is None)


def _tensor_and_number(one: Operation, node: Any) -> tuple[Any, float | None]:
    """(the node that writes the one input that is no constant, the number that the other is); None for what is not."""
    if len(node.input) != 2:
        return None, None
    for place in (0, 1):
        constant = one.constant(node.input[1 - place])
        if constant is not None and constant.size == 1:
            return one.writer(node.input[place]), float(constant.item())
    return None, None


def _activation(name: str) -> Callable[[Operation], Value]:
    return lambda one: Value(one.new(layers.Activation, name)(one.tensor()))


def _relu(one: Operation) -> Value:
    return Value(one.new(layers.ReLU, 6.0 if one.node.op == "Relu6" else None)(one.tensor()))


def _leaky_relu(one: Operation) -> Value:
    return Value(one.new(layers.LeakyReLU, float(one.attribute("alpha")))(one.tensor()))


def _softmax(one: Operation) -> Value:
    return Value(one.new(layers.Softmax)(one.tensor()))


def _larger(one: Operation) -> Value:
    left, right = one.inputs
    if isinstance(left, Value) and isinstance(right, Value):
        return Value(one.new(layers.Maximum)([one.tensor(0), one.tensor(1)]))
    place, constant = (0, right) if isinstance(left, Value) else (1, left)
    if np.any(np.asarray(constant) != 0):
        raise Unknown("of a constant other than 0")
    return Value(one.new(layers.ReLU)(one.tensor(place)))


def _pooled(kind: str) -> Callable[[Operation], Value]:
    def pool(one: Operation) -> Value:
        one.require_channels_last()
        size, padding = one.attribute("ksize")[1:3], one.attribute("padding")
        if padding == "EXPLICIT":
            raise Unknown("with a border of its own")
        strides = tuple(one.attribute("strides")[1:3])
        made = one.new(getattr(layers, f"{kind}Pooling2D"), tuple(size), strides, padding.lower())
        return Value(made(one.tensor()))

    return pool


def _reduced(kind: str) -> Callable[[Operation], Value]:
    def reduce(one: Operation) -> Value:
        tensor, axes = one.tensor(), np.ravel(one.array(1))
        if len(tensor.shape) != 4 or tuple(sorted(int(axis) % 4 for axis in axes)) != _SPATIAL:
            raise Unknown(f"over axes {axes.tolist()} of {tensor.shape}")
        keep = bool(one.attribute("keep_dims"))
        return Value(one.new(getattr(layers, f"Global{kind}Pooling2D"), keepdims=keep)(tensor))

    return reduce


def _padded(one: Operation) -> Value:
    level = float(one.array(2)) if one.node.op == "PadV2" else 0.0
    return Value(_bordered(one, one.tensor(), one.array(1), level))


def _bordered(one: Operation, images: Any, border: NDArray[Any], level: float) -> Any:
    """Images with a border of one value around them."""
    if border.shape != (4, 2) or border[[0, 3]].any():
        raise Unknown(f"of {border.tolist()}, which is no border around images")
    sides = tuple((int(before), int(behind)) for before, behind in border[1:3])
    if not any(map(any, sides)):
        return images
    layer = one.new(ConstantPadding, sides, level) if level else one.new(layers.ZeroPadding2D, sides)
    return layer(images)


def _reshaped(one: Operation) -> Value:
    tensor, shape = one.tensor(), one.shape
    if len(shape) == 2 and shape == (math.prod(tensor.shape[1:-1]), tensor.shape[-1]):
        return Value(tensor)  # pixels in a row, for a dense layer over their channels; they come back behind it
    if not shape or shape[0] != 1 or None in shape:
        raise Unknown(f"to {shape}, which mixes images of a batch")
    if tuple(tensor.shape[1:]) == shape[1:]:
        return Value(tensor)
    if len(shape) == 2:
        return Value(one.new(layers.Flatten)(tensor))
    return Value(one.new(layers.Reshape, shape[1:])(tensor))


def _joined(one: Operation) -> Value:
    axis = int(one.array(len(one.inputs) - 1))
    rank = len(one.shape)
    if axis % rank == 0:
        raise Unknown("of a batch")
    return Value(one.new(layers.Concatenate, axis=axis)([one.tensor(place) for place in range(len(one.inputs) - 1)]))


def _passed(one: Operation) -> Value:
    value = one.inputs[0]
    if not isinstance(value, Value):
        raise Unknown("of a constant")
    if value.is_logical:
        raise Unknown("of what is true or false")
    return value


def _sliced(one: Operation) -> Value:
    """A part of an image: some rows and columns, some channels, or all channels in another order."""
    tensor = one.tensor()
    places = _places(one, [1, *tensor.shape[1:]])
    if len(tensor.shape) != 4 or len(places[0]) != 1:
        raise Unknown(f"of a tensor of shape {tensor.shape}")
    rows, columns, channels = places[1:]
    for run in (rows, columns):
        if not len(run) or (np.diff(run) != 1).any():
            raise Unknown("that leaves out pixels in between")
    border = [
        (int(run[0]), int(side - 1 - run[-1])) for run, side in zip((rows, columns), tensor.shape[1:3], strict=True)
    ]
    if any(map(any, border)):
        tensor = one.new(layers.Cropping2D, tuple(border))(tensor)
    part = _channels(one, tensor, channels)
    return Value(part if part.shape[1:] == one.shape[1:] else one.new(layers.Reshape, one.shape[1:])(part))


def _stacked(one: Operation) -> Value:
    """Tensors side by side along a new axis, as channels that were taken out of an image."""
    axis, rank = int(one.attribute("axis")), len(one.shape)
    if axis % rank == 0:
        raise Unknown("of a batch")
    single = [*one.shape]
    single[axis] = 1
    parts = [one.new(layers.Reshape, tuple(single[1:]))(one.tensor(place)) for place in range(len(one.inputs))]
    return Value(one.new(layers.Concatenate, axis=axis)(parts))


def no_layer(one: Operation) -> Value:
    """Refuses an operation that is known of constants alone."""
    raise Unknown("of what depends on the image")


def _places(one: Operation, shape: list[int]) -> list[NDArray[np.int64]]:
    """Which places of each axis a strided slice takes."""
    begin, end, strides = (np.ravel(one.array(place)).astype(int) for place in (1, 2, 3))
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {name: int(one.attribute(f"{name}_mask") or 0) for name in names}
    if masks["new_axis"]:
        raise Unknown("that adds an axis")
    parts: list[slice] = []
    for at in range(len(begin)):
        if masks["ellipsis"] >> at & 1:
            parts += [slice(None)] * (len(shape) - len(begin) + 1)
            continue
        if masks["shrink_axis"] >> at & 1:
            parts.append(slice(int(begin[at]), int(begin[at]) + 1 or None))
            continue
        first = None if masks["begin"] >> at & 1 else int(begin[at])
        last = None if masks["end"] >> at & 1 else int(end[at])
        parts.append(slice(first, last, int(strides[at])))
    parts += [slice(None)] * (len(shape) - len(parts))
    return [np.arange(side)[part] for side, part in zip(shape, parts, strict=True)]


def _reversed(one: Operation) -> Value:
    tensor, axes = one.tensor(), np.ravel(one.array(1))
    if [int(axis) % len(tensor.shape) for axis in axes] != [len(tensor.shape) - 1]:
        raise Unknown(f"along axes {axes.tolist()}")
    return Value(keras.ops.flip(tensor, -1))


def _channels(one: Operation, tensor: Any, channels: NDArray[np.int64]) -> Any:
    count = tensor.shape[-1]
    if not len(channels):
        raise Unknown("that leaves nothing")
    if len(channels) == 1 or (np.diff(channels) == 1).all():
        whole = len(channels) == count
        return tensor if whole else one.new(ChannelSlice, int(channels[0]), int(channels[-1]) + 1)(tensor)
    if len(channels) == count and (np.diff(channels) == -1).all():
        return keras.ops.flip(tensor, -1)
    raise Unknown(f"of channels {channels.tolist()}")


def _split(one: Operation) -> list[Value]:
    tensor, parts = one.tensor(1), int(one.attribute("num_split"))
    if int(one.array(0)) % len(tensor.shape) != len(tensor.shape) - 1 or len(tensor.shape) != 4:
        raise Unknown("along another axis than that of channels")
    size = tensor.shape[-1] // parts
    return [Value(one.new(ChannelSlice, at * size, (at + 1) * size)(tensor)) for at in range(parts)]


LAYERS: dict[str, Callable[[Operation], Value | list[Value]]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative"), _convolution),
    **{"SpaceToBatchND": _spread, "BatchToSpaceND": _gathered},
    "Conv2DBackpropInput": _transposed_convolution,
    "MatMul": _dense,
    **dict.fromkeys(("BiasAdd", "AddV2", "Add"), _sum),
    **{"Sub": _difference, "Neg": _negative},
    "Mul": _product,
    "RealDiv": _quotient,
    "Maximum": _larger,
    **dict.fromkeys(("Relu", "Relu6"), _relu),
    "LeakyRelu": _leaky_relu,
    "Softmax": _softmax,
    **{"Sigmoid": _activation("sigmoid"), "Tanh": _activation("tanh"), "Elu": _activation("elu")},
    **{"Selu": _activation("selu"), "Softplus": _activation("softplus")},
    **{"MaxPool": _pooled("Max"), "AvgPool": _pooled("Average")},
    **{"Mean": _reduced("Average"), "Max": _reduced("Max")},
    **dict.fromkeys(("Pad", "PadV2"), _padded),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims"), _reshaped),
    **{"ConcatV2": _joined, "Pack": _stacked},
    "Cast": _passed,
    "StridedSlice": _sliced,
    "ReverseV2": _reversed,
    "Split": _split,
}
