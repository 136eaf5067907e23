"""Where rounding enters: each tensor of an int8 file beside the same tensor of the float file, as signal to noise.

Recipes may scale the channels of a tensor, undone where they are read. So each channel is compared after the factor
that brings both closest: what is told is noise, not scale.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.quantization import GREY_ZERO_POINT, grey_to_float

_LARGEST_DB = 120.0  # told of a tensor without any noise
_LOG_ERRORS_ONLY = 3
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
_ACTIVATIONS = {"Clip", "Relu"}


@dataclass(frozen=True)
class LayerNoise:
    """One tensor of an int8 file against the float file's."""

    operator: str  # that writes it
    tensor: str  # its name in the int8 file
    snr_db: float  # power of the float tensor over that of what rounding changed, decibels
    fall_db: float  # by how much it is below that of the tensor before; 0 of the first


class _Graph(Protocol):
    """A model file that shows its tensors."""

    operators: list[tuple[str, str, tuple[int, ...]]]  # (type, name of the output, its shape) in order of execution
    channel_axis: int  # of a tensor

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The real values that each operator writes."""


def layer_noise(float_file: Path, int8_file: Path, images_u8: NDArray[np.uint8]) -> list[LayerNoise]:
    """The signal-to-noise ratio of each tensor that both files have, in order of execution.

    Args:
        float_file: `.tflite` or `.onnx`.
        int8_file: of the same network and format.
        images_u8: (n, S, S), over all of which power is summed.

    Raises:
        ModelError: the files share no operators.
    """
    kind = _OnnxGraph if int8_file.suffix == ".onnx" else _TfliteGraph
    exact, rounded = kind(float_file), kind(int8_file)
    pairs = _pairs(exact, rounded)
    if not pairs:
        raise ModelError(f"{int8_file}: has no operator in common with {float_file.name}")
    sums = [np.zeros((3, exact.operators[one][2][exact.channel_axis])) for one, _ in pairs]
    for image_u8 in images_u8:
        of_exact, of_rounded = exact.read(image_u8), rounded.read(image_u8)
        for total, (one, other) in zip(sums, pairs, strict=True):
            total += _powers(of_exact[one], of_rounded[other], exact.channel_axis)
    ratios = [_decibels(total) for total in sums]
    before = [ratios[0], *ratios]
    return [
        LayerNoise(rounded.operators[other][0], rounded.operators[other][1], ratio, before[row] - ratio)
        for row, ((_, other), ratio) in enumerate(zip(pairs, ratios, strict=True))
    ]


def _pairs(exact: _Graph, rounded: _Graph) -> list[tuple[int, int]]:
    """Operators of both files in the same order, of the same type and shape: folding left some out of one of them.

    A tensor of the int8 file may hold each channel several times.
    """
    axis = exact.channel_axis
    exact_keys, rounded_keys = (
        [(kind, _without(shape, axis)) for kind, _, shape in graph.operators] for graph in (exact, rounded)
    )
    blocks = SequenceMatcher(None, exact_keys, rounded_keys, autojunk=False).get_matching_blocks()
    pairs = [(block.a + step, block.b + step) for block in blocks for step in range(block.size)]
    shapes = ((exact.operators[one][2], rounded.operators[other][2]) for one, other in pairs)
    return [pair for pair, (one, other) in zip(pairs, shapes, strict=True) if other[axis] % one[axis] == 0]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape without one of its axes."""
    place = axis % len(shape)
    return (*shape[:place], *shape[place + 1 :])


def _powers(exact: NDArray[np.float32], rounded: NDArray[np.float32], channel_axis: int) -> NDArray[np.float64]:
    """(3, channels): sums of exact², exact · rounded and rounded²."""
    x, y = (np.moveaxis(values, channel_axis, -1).astype(np.float64) for values in (exact, rounded))
    channels = x.shape[-1]
    # Copies of the channels stand one set behind the other; what is read of them is their mean.
    x, y = x.reshape(-1, channels), y.reshape(len(y), -1, y.shape[-1] // channels, channels).mean(axis=2)
    y = y.reshape(-1, channels)
    return np.stack([(x * x).sum(axis=0), (x * y).sum(axis=0), (y * y).sum(axis=0)])


def _decibels(sums: NDArray[np.float64]) -> float:
    """The ratio over all channels, each after its best factor."""
    of_exact, of_both, of_rounded = sums
    alike = np.where(of_both > 0.0, of_both, 1.0)
    # |exact - rounded / factor|² with factor = both / exact²; a channel that rounding silenced is noise altogether.
    noise = np.where(of_both > 0.0, of_exact * np.maximum(of_exact * of_rounded / alike**2 - 1.0, 0.0), of_exact)
    if not noise.sum() > 0.0:
        return _LARGEST_DB
    return min(_LARGEST_DB, float(10.0 * np.log10(max(of_exact.sum(), 1e-30) / noise.sum())))


class _TfliteGraph:
    channel_axis = -1

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(
            model_content=path.read_bytes(),
            experimental_preserve_all_tensors=True,
            # An accelerator would run several operators as one and hide the tensors between them.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        (self._entry,) = self._interpreter.get_input_details()
        details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        written = [
            (operator["op_name"], int(operator["outputs"][0])) for operator in self._interpreter._get_ops_details()
        ]
        kept = [(kind, details[index]) for kind, index in written if details[index]["dtype"] in (np.float32, np.int8)]
        self._outputs = [detail for _, detail in kept]
        self.operators = [(kind, detail["name"], tuple(map(int, detail["shape"]))) for kind, detail in kept]

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self._interpreter.set_tensor(self._entry["index"], _as_input(image_u8, self._entry["dtype"])[..., np.newaxis])
        self._interpreter.invoke()
        return [_real(self._interpreter.get_tensor(detail["index"]), detail) for detail in self._outputs]


class _OnnxGraph:
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
        del graph.output[:]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(self._names))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = _LOG_ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        shapes = [values.shape for values in self.read(np.zeros((side, side), np.uint8))]
        self.operators = [
            (kind, name, shape) for (kind, _), name, shape in zip(computing, self._names, shapes, strict=True)
        ]

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        entry = _as_input(image_u8, self._dtype)[..., np.newaxis]
        return list(self._session.run(self._names, {self._entry: entry}))


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


def _as_input(image_u8: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """(1, S, S), as a float or an int8 file takes it."""
    if np.dtype(dtype) == np.int8:
        return (image_u8.astype(np.int16) + GREY_ZERO_POINT).astype(np.int8)[np.newaxis]
    return grey_to_float(image_u8)[np.newaxis]


def _real(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    if values.dtype == np.float32:
        return np.asarray(values, np.float32)
    scale, zero_point = detail["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)


def steepest(noise: list[LayerNoise], count: int) -> list[LayerNoise]:
    """The tensors at which the ratio falls most, steepest first."""
    return sorted(noise, key=lambda one: -one.fall_db)[:count]
