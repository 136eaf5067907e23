"""The four model files of a bundle: what is inside them, and that they answer as the trained network does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from edge_runtime.embedded_spec import read_embedded_spec
from edge_runtime.engines import open_engine
from edge_runtime.errors import ModelError
from edge_runtime.model_formats import FORMATS as ON_DEVICE
from edge_runtime.quantization import GREY_SCALE, GREY_ZERO_POINT
from export.convert.formats import FORMATS
from export.convert.model_files import write_files
from export.parity.measures import FLOAT_TOLERANCE

FILES = ("model_float32.tflite", "model_float32.onnx", "model_int8.tflite", "model_int8.onnx")
# What TFLite runs in int8 on every processor that we aim at; anything else is a surprise worth a look.
INT8_OPERATORS = {
    "ADD",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "MAX_POOL_2D",
    "MEAN",
    "MUL",
    "RESHAPE",
}
INT8_OPERATORS |= {"PAD", "PADV2"}
HEATMAP_TOLERANCE = 0.1  # of int8, in the mean over cells: the network has random weights, which int8 suits badly
XNNPACK = "DELEGATE"  # the engine's own accelerator, listed behind the operators of the file


def outputs_of(bundle: Path) -> list[str]:
    """What the network of a bundle answers: mobilenetv2 also where it looked."""
    name = json.loads((bundle / "manifest.json").read_text())["spec"]["name"]
    return ["probability", "heatmap"] if name == "mobilenetv2" else ["probability"]


def parity_of(bundle: Path) -> dict[str, dict]:
    return {record["file"]: record for record in json.loads((bundle / "parity.json").read_text())["files"]}


def test_int8_tflite_holds_no_float_tensor(bundle):
    interpreter = Interpreter(model_path=str(bundle / "model_int8.tflite"))
    interpreter.allocate_tensors()
    dtypes = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    assert dtypes <= {"int8", "int32"}  # int32 for biases and shapes


def test_int8_tflite_uses_known_int8_operators_alone(bundle):
    interpreter = Interpreter(model_path=str(bundle / "model_int8.tflite"))
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()} - {XNNPACK}
    assert operators <= INT8_OPERATORS


def test_int8_tflite_takes_grey_minus_128_by_name(bundle):
    runner = Interpreter(model_path=str(bundle / "model_int8.tflite")).get_signature_runner("serving_default")
    grey, probability = runner.get_input_details()["grey"], runner.get_output_details()["probability"]
    assert grey["dtype"] is np.int8 and tuple(grey["shape"])[3] == 1
    assert np.float32(grey["quantization"][0]) == np.float32(GREY_SCALE)
    assert grey["quantization"][1] == GREY_ZERO_POINT
    assert probability["quantization"] == (np.float32(1 / 255), -128)  # the mean of four logits' probabilities


def test_int8_onnx_takes_grey_minus_128_and_gives_a_float_probability(bundle):
    graph = onnx.load(bundle / "model_int8.onnx").graph
    assert [(one.name, one.type.tensor_type.elem_type) for one in graph.input] == [("grey", onnx.TensorProto.INT8)]
    outputs = {one.name: one.type.tensor_type.elem_type for one in graph.output}
    assert outputs == dict.fromkeys(outputs_of(bundle), onnx.TensorProto.FLOAT)
    first, constants = graph.node[0], {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    assert (first.op_type, first.input[0]) == ("DequantizeLinear", "grey")
    assert constants[first.input[1]] == np.float32(GREY_SCALE) and constants[first.input[2]] == GREY_ZERO_POINT
    quantize = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert constants[quantize.input[1]] == np.float32(GREY_SCALE)  # so that every grey value meets an integer exactly


def test_int8_onnx_quantises_every_convolution_per_channel(bundle):
    graph = onnx.load(bundle / "model_int8.onnx").graph
    producers = {output: node for node in graph.node for output in node.output}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        values, weights = (producers[name] for name in node.input[:2])
        assert values.op_type == weights.op_type == "DequantizeLinear"
        kernel, scales = constants[weights.input[0]], constants[weights.input[1]]
        assert kernel.dtype == np.int8 and scales.shape == (kernel.shape[0],)


def test_batch_normalisation_is_folded_into_the_convolutions(bundle):
    operators = {node.op_type for node in onnx.load(bundle / "model_float32.onnx").graph.node}
    assert "BatchNormalization" not in operators and "Dropout" not in operators
    assert {domain.domain for domain in onnx.load(bundle / "model_float32.onnx").opset_import} == {""}


@pytest.mark.parametrize("name", FILES)
def test_every_onnx_is_valid_and_every_file_carries_its_spec(bundle, name):
    embedded = read_embedded_spec(bundle / name)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert list(embedded.spec.to_dict()["tensors"]) == manifest["tensors"][name]
    assert [tensor.name for tensor in embedded.spec.tensors] == ["grey", *outputs_of(bundle)]
    if name.endswith(".onnx"):
        onnx.checker.check_model(onnx.load(bundle / name), full_check=True)


@pytest.mark.parametrize("name", ["model_float32.tflite", "model_float32.onnx"])
def test_float_files_answer_as_the_trained_network(bundle, name):
    record = parity_of(bundle)[name]
    assert record["largest_difference"] <= FLOAT_TOLERANCE
    assert record["decisions_changed"] == 0


@pytest.mark.parametrize("name", FILES)
def test_golden_answers_are_those_of_the_file(bundle, name):
    expected = json.loads((bundle / "golden" / "expected.json").read_text())
    engine = open_engine(bundle / name, read_embedded_spec(bundle / name).spec)
    assert len(expected) == 8
    for picture, answers in expected.items():
        image_u8 = np.asarray(Image.open(bundle / "golden" / picture))
        assert float(engine.run(image_u8)["probability"]) == pytest.approx(answers[name]["probability"], abs=1e-6)


def test_every_file_looks_where_the_trained_network_looks(bundle):
    if "heatmap" not in outputs_of(bundle):
        return
    picture = sorted((bundle / "golden").glob("*.png"))[0]
    image_u8 = np.asarray(Image.open(picture))
    maps = [
        open_engine(bundle / name, read_embedded_spec(bundle / name).spec).run(image_u8)["heatmap"] for name in FILES
    ]
    side = image_u8.shape[0] // 16
    assert {one.shape for one in maps} == {(side, side, 1)}
    np.testing.assert_allclose(maps[0], maps[1], atol=FLOAT_TOLERANCE)
    for one in maps[2:]:
        assert np.abs(one - maps[0]).mean() < HEATMAP_TOLERANCE


def test_every_format_has_its_half_on_the_device():
    assert list(FORMATS) == list(ON_DEVICE)
    assert all(suffix == one.suffix for suffix, one in FORMATS.items())


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_another_precision_is_not_written(bundle, tmp_path, suffix):
    embedded = read_embedded_spec(bundle / f"model_float32{suffix}")
    content = (bundle / f"model_float32{suffix}").read_bytes()[: embedded.model_bytes]
    with pytest.raises(ModelError, match="its input is float32"):
        write_files(tmp_path, "int8", {suffix: content}, embedded.spec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "largest_int8_bytes"), [("cnn", 24_200_000), ("mobilenetv2", 2_800_000)])
def test_full_networks_are_exported(make_bundle, kind, largest_int8_bytes):
    bundle = make_bundle(kind, size=224, alpha=1.0)
    test_int8_tflite_holds_no_float_tensor(bundle)
    test_int8_tflite_uses_known_int8_operators_alone(bundle)
    for name in ("model_int8.tflite", "model_int8.onnx"):
        assert (bundle / name).stat().st_size <= largest_int8_bytes
