"""The tensors of an `.onnx` file: its ends, and what each of the others holds for an image."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnxruntime

from edge_runtime.quantization import GREY_SCALE, GREY_ZERO_POINT
from edge_runtime.spec import Tensor
from export.convert.ends import HEATMAP, INPUT, OUTPUT

_LOG_ERRORS_ONLY = 3


def onnx_tensors(content: bytes) -> tuple[Tensor, ...]:
    """The named input, float32 or int8, and the outputs, float32 in every file, of an `.onnx` file."""
    graph = onnx.load_from_string(content).graph
    is_int8 = graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT8
    entry = Tensor(INPUT, "int8", GREY_SCALE, GREY_ZERO_POINT) if is_int8 else Tensor(INPUT, "float32")
    outputs = {output.name for output in graph.output}
    return entry, *(Tensor(name, "float32") for name in (OUTPUT, HEATMAP) if name in outputs)


def session_of_tensors(model: onnx.ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session that gives these tensors, each as its operator writes it.

    Args:
        model: whose outputs are replaced.
        names: of the tensors, each once.
    """
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _LOG_ERRORS_ONLY
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
