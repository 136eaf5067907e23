"""A flat graph calculated in float64 by TensorFlow itself: what a translation of it is held to, and its constants.

Batch normalisation as one operation has no form in float64; it is written out in products and sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2, types_pb2
from tensorflow.python.framework import op_def_registry

from edge_runtime.errors import ModelError
from export.inputs.foreign.saved_model.flat_graph import ENTRY
from export.inputs.foreign.saved_model.tensor_names import full, node_of

_EXACT = types_pb2.DT_DOUBLE
_REAL = (types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)
_NORMALISING = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_ALWAYS_FLOAT32 = ("ResizeBilinear", "ResizeBicubic")  # whatever they read
_OF_SHAPE = ("Shape", "ShapeN", "Size", "Rank")  # tell nothing of the values of an image


class ExactGraph:
    """A flat graph in float64, for one image at a time.

    Args:
        graph: flat.
        answer: name of the tensor that is its answer.
        shape: (height, width, channels) of the image.

    Raises:
        ModelError: it has an operation that TensorFlow does not know, or that has no form in float64.
    """

    def __init__(self, graph: graph_pb2.GraphDef, answer: str, shape: tuple[int, int, int]) -> None:
        self.answer, self.image_shape = answer, shape
        exact = graph_pb2.GraphDef(versions=graph.versions)
        for node in graph.node:
            exact.node.extend(_in_float64(node, shape))
        self._graph = tf.Graph()
        try:
            with self._graph.as_default():
                tf.import_graph_def(exact, name="")
        except ValueError as error:
            raise ModelError((str(error).splitlines() or ["TensorFlow does not know its operations"])[0]) from error
        self.nodes = {node.name: node for node in exact.node}
        self._of_image = self._depending()

    @property
    def in_order(self) -> list[Any]:
        """The operations that depend on the image, each behind those that it reads, the image itself left out."""
        return [self.nodes[name] for name in self._of_image if name != ENTRY]

    def is_constant(self, tensor: str) -> bool:
        """Whether every image gives a tensor the same values."""
        return node_of(tensor) not in self._of_image

    def shape_of(self, tensor: str) -> tuple[int | None, ...]:
        """The shape of a tensor for one image, the batch of 1 first."""
        shape = self._graph.get_tensor_by_name(full(tensor)).shape
        return tuple(shape.as_list()) if shape.rank is not None else ()

    def constants(self, tensors: Iterable[str]) -> dict[str, NDArray[Any]]:
        """The values of tensors that no image changes, by name."""
        names = list(tensors)
        (values,) = self._run(list(map(full, names)), np.zeros((1, *self.image_shape)))
        return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}

    def __call__(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, classes), the answer to images (N, height, width, channels)."""
        return np.concatenate([answer for (answer,) in self._run([self.answer], images)])

    def _run(self, tensors: list[str], images: NDArray[np.float64]) -> list[list[Any]]:
        """The values of tensors for each image."""
        config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
        with tf.compat.v1.Session(graph=self._graph, config=config) as session:
            return [session.run(tensors, {full(ENTRY): image[np.newaxis]}) for image in images]

    def _depending(self) -> dict[str, None]:
        """Names of the operations that depend on the values of the image, in order of execution."""
        found: dict[str, None] = {}
        for operation in self._graph.get_operations():  # as they were added: each behind those that it reads
            node = self.nodes[operation.name]
            below = {node_of(name) for name in node.input}
            if operation.name == ENTRY or (below & found.keys() and node.op not in _OF_SHAPE):
                found[operation.name] = None
        return found


def _in_float64(node: Any, shape: tuple[int, int, int]) -> list[Any]:
    copy = node_def_pb2.NodeDef()
    copy.CopyFrom(node)
    _write_defaults(copy)
    if node.op in _NORMALISING:
        return _normalisation(copy)
    for value in copy.attr.values():
        _retype(value)
    if node.op == "Cast" and node_of(node.input[0]) == ENTRY:
        copy.attr["SrcT"].type = _EXACT  # of an image in bytes, say
    if node.op in _ALWAYS_FLOAT32:
        return _widened(copy)
    if node.name == ENTRY:
        copy.attr["shape"].CopyFrom(attr_value_pb2.AttrValue(shape=tf.TensorShape((1, *shape)).as_proto()))
    return [copy]


def _widened(node: Any) -> list[Any]:
    """The node under another name, and what it writes in float64 under its own."""
    cast = node_def_pb2.NodeDef(name=node.name, op="Cast", input=[f"{node.name}/float32"])
    cast.attr["SrcT"].type, cast.attr["DstT"].type = types_pb2.DT_FLOAT, _EXACT
    node.name = cast.input[0]
    return [node, cast]


def _write_defaults(node: Any) -> None:
    """Writes down, in place, the attributes that a SavedModel leaves out because they have their default values."""
    definition = op_def_registry.get(node.op)
    for attribute in definition.attr if definition is not None else ():
        if attribute.name not in node.attr and attribute.HasField("default_value"):
            node.attr[attribute.name].CopyFrom(attribute.default_value)


def _retype(value: Any) -> None:
    """Makes a floating type, or the type of a floating constant, float64 in place."""
    kind = value.WhichOneof("value")
    if kind == "type" and value.type in _REAL:
        value.type = _EXACT
    elif kind == "tensor" and value.tensor.dtype in _REAL:
        exact = tf.make_ndarray(value.tensor).astype(np.float64)
        value.tensor.CopyFrom(tf.make_tensor_proto(exact, tf.float64))
    elif kind == "list":
        value.list.type[:] = [_EXACT if one in _REAL else one for one in value.list.type]


def _normalisation(node: Any) -> list[Any]:
    """As nodes: x * gain + offset - mean * gain, gain being scale / sqrt(variance + epsilon) (arXiv:1502.03167)."""
    if node.attr["is_training"].b:
        raise ModelError(f"{node.name!r} normalises by its batch: it acts as in training; export it for inference")
    if node.attr["data_format"].s not in (b"", b"NHWC"):
        raise ModelError(f"{node.name!r} has channels first; channels last were expected")
    images, scale, offset, mean, variance = node.input[:5]
    epsilon = node_def_pb2.NodeDef(name=f"{node.name}/epsilon", op="Const")
    epsilon.attr["dtype"].type = _EXACT
    epsilon.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(float(node.attr["epsilon"].f), tf.float64))
    parts = [
        ("AddV2", "sum", variance, epsilon.name),
        ("Rsqrt", "rsqrt", f"{node.name}/sum"),
        ("Mul", "gain", f"{node.name}/rsqrt", scale),
        ("Mul", "scaled", images, f"{node.name}/gain"),
        ("Mul", "mean", mean, f"{node.name}/gain"),
        ("Sub", "shift", offset, f"{node.name}/mean"),
        ("AddV2", "", f"{node.name}/scaled", f"{node.name}/shift"),
    ]
    made = [epsilon]
    for kind, name, *read in parts:
        made.append(node_def_pb2.NodeDef(name=f"{node.name}/{name}" if name else node.name, op=kind, input=read))
        made[-1].attr["T"].type = _EXACT
    return made
