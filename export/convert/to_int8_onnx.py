"""Float `.onnx` to int8 `.onnx`: quantise and dequantise pairs around each operator, weights per channel.

The probability itself stays float: the last product is taken in integers and scaled once, so it does not move in steps.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_runtime.quantization import GREY_SCALE, GREY_ZERO_POINT
from export.convert.ends import HEATMAP, INPUT, OUTPUT
from export.convert.onnx_operators import put_nodes
from export.convert.tflite_tensors import Inputs
from export.convert.to_onnx import without_unused_domains
from export.library_errors import told_as_model_error

# Measured: with 7 bits of weights two to four times as many decisions of MobileNetV2 change as with 8, and with uint8
# activations ONNX Runtime gives the same bits on x86 with and without VNNI, where int8 ones do not.
_ACTIVATIONS, _WEIGHTS = QuantType.QUInt8, QuantType.QInt8
_NOTHING = re.compile(r"(?!)")
_REAL_INPUT = "grey_real"  # the input after it was dequantised


class _Reader(CalibrationDataReader):
    """Calibration inputs as ONNX Runtime's calibrator asks for them."""

    def __init__(self, inputs: Inputs, count: int | None = None) -> None:
        self._remaining = itertools.islice(inputs(), count)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input by name, None at the end."""
        image = next(self._remaining, None)
        return None if image is None else {INPUT: image}


def to_int8_onnx(
    float_onnx: bytes,
    inputs: Inputs,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    left_float: re.Pattern[str] = _NOTHING,
) -> bytes:
    """An `.onnx` file with int8 input `grey` and float32 outputs, integers between.

    Args:
        float_onnx: with batch normalisation folded and shapes inferred.
        inputs: calibration inputs; the smallest and largest value that they cause is the range of every other tensor.
        ranges: (smallest, largest) of tensors whose range is known, by name.
        left_float: finds the names of nodes that stay float.

    Raises:
        ModelError: it cannot be made.
    """
    ranges = ranges or {}
    with told_as_model_error("ONNX Runtime cannot make an int8 file of the network"):
        # Measuring is slow, and for nothing where every range is known: one image satisfies the quantiser.
        quantized = _quantise(float_onnx, _Reader(inputs, 1), ranges, left_float) if ranges else None
        if quantized is None or not _quantised_tensors(quantized) <= set(ranges):
            quantized = _quantise(float_onnx, _Reader(inputs), ranges, left_float)
        _take_int8(quantized)
        _store_weights_for_each_reader(quantized)
        content: bytes = without_unused_domains(quantized).SerializeToString(deterministic=True)
    return content


def _quantise(
    float_onnx: bytes,
    reader: CalibrationDataReader,
    ranges: Mapping[str, tuple[float, float]],
    left_float: re.Pattern[str],
) -> onnx.ModelProto:
    model = onnx.load_from_string(float_onnx)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "int8.onnx")
        quantize_static(
            model,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=_ACTIVATIONS,
            weight_type=_WEIGHTS,
            nodes_to_exclude=[
                node.name
                for node in model.graph.node
                if {OUTPUT, HEATMAP} & set(node.output) or left_float.search(node.name)
            ],
            # Dense layers hand on their 32-bit sums as real values: the last of them is the logit.
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                "TensorQuantOverrides": _overrides(ranges),
            },
        )
        return onnx.load(target)


def _quantised_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the real tensors that the graph quantises."""
    return {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}


def _overrides(ranges: Mapping[str, tuple[float, float]]) -> dict[str, list[dict[str, np.float32]]]:
    """Ranges as ONNX Runtime's quantiser takes them. Zero lies in each, as in those it measures itself."""
    return {
        name: [{"rmin": np.float32(min(lowest, 0.0)), "rmax": np.float32(max(highest, 0.0))}]
        for name, (lowest, highest) in ranges.items()
    }


def _take_int8(model: onnx.ModelProto) -> None:
    """Makes the graph's input int8, grey - 128, in place.

    The graph quantises its real input with scale 1/255, so int8 -> real -> uint8 meets every integer exactly.
    """
    graph = model.graph
    for node in graph.node:
        node.input[:] = [_REAL_INPUT if name == INPUT else name for name in node.input]
    scale, zero_point = f"{INPUT}_int8_scale", f"{INPUT}_int8_zero_point"  # names that the quantiser does not use
    graph.initializer.append(helper.make_tensor(scale, TensorProto.FLOAT, [], [GREY_SCALE]))
    graph.initializer.append(helper.make_tensor(zero_point, TensorProto.INT8, [], [GREY_ZERO_POINT]))
    node = helper.make_node("DequantizeLinear", [INPUT, scale, zero_point], [_REAL_INPUT], name=f"{INPUT}_dequantize")
    graph.node.insert(0, node)
    graph.input[0].type.tensor_type.elem_type = TensorProto.INT8


def _store_weights_for_each_reader(model: onnx.ModelProto) -> None:
    """Gives each operator weights of its own, in place, where several read the same ones.

    ONNX Runtime refuses files of shared weights where it turns int8 weights into uint8, on processors without VNNI:
    "Attempt to replace the existing tensor".
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        (real,) = node.output
        for number, reader in enumerate(readers.get(real, ())[1:], start=2):
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name, copy.output[0] = f"{node.name}_{number}", f"{real}_{number}"
            for slot, name in enumerate(node.input):
                stored = onnx.TensorProto.FromString(constants[name].SerializeToString())
                stored.name = copy.input[slot] = f"{name}_{number}"
                graph.initializer.append(stored)
            reader.input[:] = [copy.output[0] if name == real else name for name in reader.input]
            nodes.append(copy)
    put_nodes(graph, nodes)
