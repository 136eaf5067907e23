"""An operation of TensorFlow that no layer of Keras does, as a layer that calls the operation itself.

For those alone that calculate: nothing random, nothing that keeps a state, reads files or writes them.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers, tree
from tensorflow.python.framework import op_def_registry

from export.inputs.foreign.operation_layer import Slot
from export.inputs.foreign.saved_model.operations import Operation, Unknown
from export.inputs.foreign.saved_model.values import Value

CALCULATING = (
    *("Neg", "Abs", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Exp", "Log", "Log1p", "Expm1", "Pow", "Erf", "Erfc"),
    *("SquaredDifference", "Minimum", "Maximum", "Softsign", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign"),
    *("Mul", "RealDiv", "Sub", "AddV2", "Mean", "Max", "Min", "Sum", "Prod", "Transpose", "Tile", "StridedSlice"),
    *("Greater", "GreaterEqual", "Less", "LessEqual", "LogicalNot", "LogicalAnd", "LogicalOr", "SelectV2", "Cast"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "SpaceToDepth", "DepthToSpace", "BatchMatMulV2", "Einsum", "Softmax"),
)
_OVER_AXES = ("Mean", "Max", "Min", "Sum", "Prod")


class RawOperation(layers.Layer):
    """One call of an operation of TensorFlow.

    Args:
        kind: of `tf.raw_ops`, with one output.
        given: its arguments by name: a Slot for each tensor of Keras, arrays, or lists of both.
        settings: its attributes by name.
    """

    def __init__(self, kind: str, given: dict[str, Any], settings: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.kind, self.given, self.settings = kind, given, settings

    def call(self, inputs: Any) -> Any:
        """What the operation makes of the layer's inputs: one tensor, or a list of them."""
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        arguments = tree.map_structure(lambda one: self._value(one, tensors), self.given)
        settings = {
            name: self.compute_dtype if isinstance(value, tf.DType) and value.is_floating else value
            for name, value in self.settings.items()
        }
        made = getattr(tf.raw_ops, self.kind)(**arguments, **settings)
        return tf.cast(made, self.compute_dtype) if made.dtype.is_floating else made  # resizing is always float32

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for copies inside this process."""
        return {**super().get_config(), "kind": self.kind, "given": self.given, "settings": self.settings}

    def _value(self, value: Any, tensors: Any) -> Any:
        if isinstance(value, Slot):
            return tensors[value.index]
        is_real = np.issubdtype(value.dtype, np.floating)
        return tf.constant(value.astype(self.compute_dtype) if is_real else value)


def raw_operation(one: Operation) -> Value:
    """An operation as it is, where it calculates each image of a batch by itself.

    Raises:
        Unknown: it is another one.
    """
    kind = one.node.op
    if kind not in CALCULATING or len(one.shape) < 2 or one.shape[0] != 1 or None in one.shape:
        raise Unknown("as it is called here")
    settings = _settings(one.node)
    tensors = [value.tensor(one.new) for value in one.inputs if isinstance(value, Value)]
    if not _by_image(kind, one.inputs, tensors, settings):
        raise Unknown("that mixes the images of a batch")
    slots = iter(range(len(tensors)))
    given = [Slot(next(slots)) if isinstance(value, Value) else np.asarray(value) for value in one.inputs]
    layer = one.new(RawOperation, kind, _arguments(one.node, given), settings)
    return Value(layer(tensors if len(tensors) > 1 else tensors[0]))


def _by_image(kind: str, inputs: list[Any], tensors: list[Any], settings: dict[str, Any]) -> bool:
    """Whether an operation leaves the images of a batch apart, whose axis is the first one of every tensor."""
    rank = len(tensors[0].shape)
    if kind in _OVER_AXES:
        return all(int(axis) % rank for axis in np.ravel(inputs[1]))
    if kind == "Transpose":
        return int(np.ravel(inputs[1])[0]) == 0
    if kind == "Tile":
        return int(np.ravel(inputs[1])[0]) == 1
    if kind == "StridedSlice":
        return _takes_all_images(inputs, settings)
    if kind == "Einsum":
        return _keeps_first_letter(str(settings["equation"]), [isinstance(value, Value) for value in inputs])
    return all(len(one.shape) == rank for one in tensors)  # one of fewer axes would meet others with its images


def _takes_all_images(inputs: list[Any], settings: dict[str, Any]) -> bool:
    begin, _, strides = (int(np.ravel(one)[0]) for one in inputs[1:4])
    is_whole = settings["begin_mask"] & 1 or begin == 0
    others = settings["ellipsis_mask"] | settings["new_axis_mask"] | settings["shrink_axis_mask"]
    ellipsis_first = settings["ellipsis_mask"] & 1
    return bool(ellipsis_first or (is_whole and settings["end_mask"] & 1 and strides == 1 and not others & 1))


def _keeps_first_letter(equation: str, of_image: list[bool]) -> bool:
    """Whether the letter that what an Einsum writes begins with is the first of each tensor that has images, alone."""
    read, written = equation.replace(" ", "").split("->")
    batch, parts = written[:1], list(zip(read.split(","), of_image, strict=True))
    if "..." in equation or not batch:
        return False
    return all(part[:1] == batch if images else batch not in part for part, images in parts)


def _arguments(node: Any, values: list[Any]) -> dict[str, Any]:
    """The values of a node's inputs by the names that `tf.raw_ops` has for them; where it takes a list, a list."""
    named: dict[str, Any] = {}
    left = list(values)
    for name, argument in zip(_parameters(node), op_def_registry.get(node.op).input_arg, strict=False):
        if argument.number_attr:
            count = int(node.attr[argument.number_attr].i)
            named[name], left = left[:count], left[count:]
        else:
            named[name] = left.pop(0)
    return named


def _settings(node: Any) -> dict[str, Any]:
    """The attributes of a node that `tf.raw_ops` asks for, as Python has them."""
    inputs = len(op_def_registry.get(node.op).input_arg)
    asked = (name for name in _parameters(node)[inputs:] if name != "name")
    return {name: _plain(node.attr[name]) for name in asked}


def _parameters(node: Any) -> list[str]:
    """Inputs first; what they are called is not always what the graph calls them."""
    return list(inspect.signature(getattr(tf.raw_ops, node.op)).parameters)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "list":
        return [int(one) for one in value.list.i]
    if kind == "type":
        return tf.as_dtype(value.type)
    return value.s.decode() if kind == "s" else getattr(value, kind)
