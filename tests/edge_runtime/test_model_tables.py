"""What a model file says of its own ends, read before any engine sees it."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Predictor
from edge_runtime.bundle import open_model
from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.engines import open_engine
from edge_runtime.errors import ModelError
from edge_runtime.model_tables import check_tables
from edge_runtime.spec import ModelSpec, Tensor

onnx = pytest.importorskip("onnx")

FILES = ["model_int8.tflite", "model_float32.tflite", "model_int8.onnx", "model_float32.onnx"]
FLIPS = 400  # of each file; the fuzzer of models goes on


def parts(path: Path) -> tuple[bytes, ModelSpec]:
    embedded = read_embedded_spec(path)
    return path.read_bytes()[: embedded.model_bytes], embedded.spec


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_its_spec_fit(tiny_bundle, name):
    model, spec = parts(tiny_bundle / name)
    check_tables(memoryview(model), Path(name).suffix, spec, name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda spec: replace(spec, size=64), r"the shape \[1, 32, 32, 1\], its spec asks for \[1, 64, 64, 1\]"),
        (lambda spec: spec.with_tensors(spec.tensors[:1]), "names no output `probability`"),
        (lambda spec: spec.with_tensors((*spec.tensors, Tensor("heatmap", "float32"))), "has no tensor 'heatmap'"),
        (lambda spec: spec.with_tensors((replace(spec.tensors[0], name="x"), *spec.tensors[1:])), "no tensor 'x'"),
        (
            lambda spec: spec.with_tensors((Tensor("grey", "uint8", 0.1, 0), *spec.tensors[1:])),
            "its spec says uint8",
        ),
    ],
)
def test_a_spec_that_is_not_the_files_is_told(tiny_bundle, name, change, says):
    model, spec = parts(tiny_bundle / name)
    with pytest.raises(ModelError, match=says):
        check_tables(memoryview(model), Path(name).suffix, change(spec), name)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_and_cuts_raise_nothing_but_a_model_error(tiny_bundle, name):
    model, spec = parts(tiny_bundle / name)
    random_, refused = random.Random(name), 0
    for _ in range(FLIPS):
        changed = bytearray(model)
        for _ in range(random_.choice([1, 4, 30])):
            changed[random_.randrange(len(changed))] = random_.randrange(256)
        if random_.random() < 0.3:
            del changed[random_.randrange(len(changed)) :]
        try:
            check_tables(memoryview(bytes(changed)), Path(name).suffix, spec, name)
        except ModelError:
            refused += 1
    assert refused > FLIPS // 10


def tiny_onnx(**options) -> bytes:
    """A network of one output or two: the mean of the image, and the image averaged in squares of 8 x 8."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("ReduceMean", ["grey"], ["mean"], axes=[1, 2, 3], keepdims=0)]
    nodes.append(helper.make_node("Unsqueeze", ["mean", "axis"], ["probability"]))
    nodes.append(helper.make_node("Transpose", ["grey"], ["nchw"], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("AveragePool", ["nchw"], ["small"], kernel_shape=[8, 8], strides=[8, 8]))
    nodes.append(helper.make_node("Transpose", ["small"], ["heatmap"], perm=[0, 2, 3, 1]))
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    if options.get("external"):
        axis.ClearField("int64_data")
        axis.data_location = TensorProto.EXTERNAL
        entry = axis.external_data.add()
        entry.key, entry.value = "location", "../../etc/passwd"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [1, 32, 32, 1])],
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1]),
            helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, [1, 4, 4, 1]),
        ],
        [axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


SPEC = ModelSpec(
    *("tiny", 32, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "phantom"),
    tensors=(Tensor("grey", "float32"), Tensor("probability", "float32"), Tensor("heatmap", "float32")),
)


def test_a_second_output_comes_with_the_first(tmp_path):
    path = tmp_path / "two.onnx"
    path.write_bytes(embed(tiny_onnx(), SPEC, ".onnx"))
    image_u8 = np.full((32, 32), 51, np.uint8)
    predictor = Predictor(path)
    assert predictor.probability(image_u8) == pytest.approx(0.2, abs=1e-6)
    outputs = open_engine(path, SPEC, "onnxruntime").run(image_u8)
    assert outputs["heatmap"].shape == (4, 4, 1)
    np.testing.assert_allclose(outputs["heatmap"], 0.2, atol=1e-6)


def test_weights_in_another_file_are_refused_wherever_they_hide(tmp_path):
    path = tmp_path / "external.onnx"
    path.write_bytes(embed(tiny_onnx(external=True), SPEC, ".onnx"))
    with pytest.raises(ModelError, match="external data"):
        open_model(path)
    model = onnx.load_from_string(tiny_onnx())
    hidden = onnx.helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [1.0])
    hidden.data_location = onnx.TensorProto.EXTERNAL
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=hidden)], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    with pytest.raises(ModelError, match="external data"):
        check_tables(memoryview(model.SerializeToString()), ".onnx", SPEC, "x")
    function = onnx.helper.make_function("d", "f", [], ["c"], [inner.node[0]], [onnx.helper.make_opsetid("", 13)])
    model = onnx.load_from_string(tiny_onnx())
    model.functions.append(function)
    with pytest.raises(ModelError, match="external data"):
        check_tables(memoryview(model.SerializeToString()), ".onnx", SPEC, "x")
    sparse = onnx.helper.make_sparse_tensor(
        onnx.helper.make_tensor("v", onnx.TensorProto.FLOAT, [1], [1.0]),
        onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0]),
        [4],
    )
    sparse.values.data_location = onnx.TensorProto.EXTERNAL
    model = onnx.load_from_string(tiny_onnx())
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError, match="external data"):
        check_tables(memoryview(model.SerializeToString()), ".onnx", SPEC, "x")


def test_graphs_nested_for_ever_and_two_graphs_are_refused():
    graph = onnx.load_from_string(tiny_onnx()).graph
    for _ in range(20):
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("If", ["x"], ["y"], then_branch=graph)], "g", graph.input, graph.output
        )
    model = onnx.helper.make_model(graph).SerializeToString()
    with pytest.raises(ModelError, match="nested too deeply"):
        check_tables(memoryview(model), ".onnx", SPEC, "x")
    with pytest.raises(ModelError, match="more than one"):
        check_tables(memoryview(tiny_onnx() * 2), ".onnx", SPEC, "x")


@pytest.mark.parametrize(
    "message",
    [
        b"\x38\x01",  # a number where the graph should be
        b"\x3a\x05ab",  # a graph longer than the file
        b"\x3a" + b"\xff" * 11,  # a length of more than 64 bits
        b"\x3b",  # a kind of field that does not exist
        b"\x3a\x80",  # a length that ends early
    ],
)
def test_protobuf_that_leads_astray_is_refused(message):
    with pytest.raises(ModelError, match="tables are damaged"):
        check_tables(memoryview(message), ".onnx", SPEC, "x")


def test_tables_of_tflite_that_lead_astray_are_refused(tiny_bundle):
    model, spec = parts(tiny_bundle / "model_float32.tflite")
    for at, value in ((0, 0), (0, 2**31), (0, len(model) - 2), (4, 0)):
        changed = bytearray(model)
        struct.pack_into("<I", changed, at, value)
        with pytest.raises(ModelError, match="tables are damaged"):
            check_tables(memoryview(bytes(changed)), ".tflite", spec, "x")
    renamed = model.replace(b"serving_default", b"serving_defaulT")
    with pytest.raises(ModelError, match="tables are damaged"):
        check_tables(memoryview(renamed), ".tflite", spec, "x")
