"""`.onnx`: made by tf2onnx, rounded to int8 with the ranges of the `.tflite` file, shown by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_runtime.model_formats.protobuf import ONNX as ON_DEVICE
from export.convert.formats.model_format import Calibrated, ModelFormat, as_stored
from export.convert.onnx_tensors import onnx_tensors, session_of_tensors

if TYPE_CHECKING:
    import keras

# Operators of `.onnx` that only move, name or round values: the tensors of interest are those of the others.
_NOT_COMPUTING = {
    "QuantizeLinear",
    "DequantizeLinear",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Pad",
}
_HANDING_ON = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Pad"}
_SUMMING = {"Gemm", "MatMul"}
_ACTIVATIONS = {"Clip", "Relu"}


def _convert(network: keras.Model) -> bytes:
    from export.convert.to_onnx import to_float_onnx

    return to_float_onnx(network)


def _quantise(calibrated: Calibrated) -> bytes:
    """Both formats round a tensor alike: it gets the range that it has in the `.tflite` file."""
    from export.convert.tensor_matching import match_tensors
    from export.convert.to_int8_onnx import to_int8_onnx
    from export.convert.to_onnx import to_float_onnx
    from export.inputs.foreign.float_layers import float_layers, in_scope_of

    names = [name for layers in float_layers(calibrated.network, ONNX.suffix).values() for name in layers]
    float_onnx = to_float_onnx(calibrated.network)
    matches = match_tensors(float_onnx, calibrated.float_tflite, next(calibrated.inputs()))
    shared = {name: calibrated.ranges[index] for name, index in matches.items()}
    return to_int8_onnx(float_onnx, calibrated.inputs, shared, in_scope_of(names))


def _float_operators(content: bytes) -> tuple[str, ...]:
    """Kinds of operators that read what another one calculated, and nobody rounded to int8 between.

    Dense layers hand on their sums as they are. A function of one value alone, between integers, counts as int8.
    """
    written: set[str] = set()
    kinds = []
    for node in onnx.load_from_string(content).graph.node:
        if node.op_type in _HANDING_ON and set(node.input) & written:
            written.update(node.output)
        elif node.op_type not in (*_NOT_COMPUTING, *_SUMMING):
            if set(node.input) & written:
                kinds.append(node.op_type)
            written.update(node.output)
    return tuple(dict.fromkeys(kinds))


class OnnxGraph:
    """An `.onnx` file that shows its tensors, see `TensorGraph`."""

    channel_axis = 1

    def __init__(self, path: Path) -> None:
        model = onnx.load(path)
        graph = model.graph
        after_rounding = _rounded_names(graph)
        computing = _computing(graph)
        self._names = [after_rounding.get(name, name) for _, name in computing]
        self._entry = graph.input[0].name
        self._dtype = np.int8 if graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT8 else np.float32
        side = graph.input[0].type.tensor_type.shape.dim[1].dim_value
        self._session = session_of_tensors(model, list(dict.fromkeys(self._names)))
        shapes = [values.shape for values in self.read(np.zeros((side, side), np.uint8))]
        self.operators = [
            (kind, name, shape) for (kind, _), name, shape in zip(computing, self._names, shapes, strict=True)
        ]

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._session.run(self._names, {self._entry: as_stored(image_u8, self._dtype)}))


def _computing(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """(type, output) of the operators that calculate, an activation taken together with what it follows.

    The quantiser leaves out an activation that the range of its tensor already is.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    found: dict[str, str] = {}  # output -> type
    for node in graph.node:
        if node.op_type in _NOT_COMPUTING:
            continue
        follows = node.op_type in _ACTIVATIONS and node.input[0] in found and readers[node.input[0]] == 1
        found[node.output[0]] = found.pop(node.input[0]) if follows else node.op_type
    return [(kind, name) for name, kind in found.items()]


def _rounded_names(graph: onnx.GraphProto) -> dict[str, str]:
    """The name that each tensor has after it was rounded, through the pair of operators that rounds it."""
    quantised = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    real = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return {name: real[integers] for name, integers in quantised.items() if integers in real}


ONNX = ModelFormat(ON_DEVICE.suffix, onnx_tensors, _convert, _quantise, _float_operators, OnnxGraph)
