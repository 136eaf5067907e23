"""Deployed files against the trained network: the figures are right, and the answers steady."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.engines import open_engine
from edge_runtime.errors import GateError
from edge_runtime.spec import ModelSpec, Tensor
from export.inputs.calibration import CalibrationSet
from export.parity import measures
from export.parity.engine_answers import Answers, ask, ask_elsewhere
from export.quantize.recipes import open_recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quiet import quiet_converters
from train.phantom import draw

SIZE, IMAGES = 32, 24
SPEC = ModelSpec("cnn", SIZE, "stretch", "box", ("not fractured", "fractured"), 0.5, "phantom")
FILES = ("model_float32.tflite", "model_float32.onnx", "model_int8.tflite", "model_int8.onnx")
# A network of four layers with logits around 1: what rounding 8-bit weights and activations may do to it.
INT8_LARGEST_DIFFERENCE = 0.05


@pytest.fixture(scope="module")
def images_u8() -> np.ndarray:
    from edge_runtime.preprocess import preprocess

    return np.stack([preprocess(draw(11, index).image_u8, SPEC) for index in range(IMAGES)])


@pytest.fixture(scope="module")
def deployed_files(images_u8, tmp_path_factory):
    """(model file -> spec inside it, probabilities of the trained network)."""
    calibration = CalibrationSet(tmp_path_factory.mktemp("none"), images_u8, (None,) * IMAGES, (), (), True)
    with quiet_converters():
        import keras

        from export.convert import grey_network, model_files, prepared_network
        from train.networks.cnn import build_cnn

        keras.utils.set_random_seed(2)
        network = build_cnn(SIZE)
        prepared = prepared_network.prepare(network, SPEC, images_u8)
        folder, inputs = tmp_path_factory.mktemp("files"), RecipeInputs(calibration, lambda: images_u8)
        floats = model_files.convert_to_float(prepared.grey, (".tflite", ".onnx"))
        specs = model_files.write_files(folder, "float32", floats, SPEC)
        specs |= model_files.write_files(folder, "int8", open_recipe("minmax").quantize(prepared, floats, inputs), SPEC)
        return specs, grey_network.float_probabilities(network, images_u8)


@pytest.mark.parametrize("name", FILES)
def test_a_file_answers_as_the_trained_network(deployed_files, images_u8, name):
    specs, reference = deployed_files
    path = next(path for path in specs if path.name == name)
    one = measures.measure_file(path, specs[path], measures.EvaluationSet("test", images_u8, None, reference))
    limit = measures.FLOAT_TOLERANCE if "float32" in name else INT8_LARGEST_DIFFERENCE
    assert one.largest_difference <= limit
    assert (one.file, one.auc, one.bytes) == (name, None, path.stat().st_size)


@pytest.mark.parametrize("name", FILES)
def test_answers_depend_neither_on_threads_nor_on_order_nor_on_repetition(deployed_files, images_u8, name):
    specs, _ = deployed_files
    path = next(path for path in specs if path.name == name)
    alone, together = (open_engine(path, specs[path], threads=threads) for threads in (1, 2))
    first = [alone.run(image)["probability"].item() for image in images_u8]
    backwards = [together.run(image)["probability"].item() for image in images_u8[::-1]]
    again = [alone.run(image)["probability"].item() for image in images_u8]
    assert first == again == backwards[::-1]


def test_another_python_is_found_by_a_relative_path_and_answers_alike(deployed_files, images_u8, monkeypatch):
    specs, _ = deployed_files
    path = next(path for path in specs if path.name == "model_int8.tflite")
    python = Path(sys.executable)
    monkeypatch.chdir(python.parent)
    elsewhere = ask_elsewhere(path, images_u8, "litert", Path(python.name))
    np.testing.assert_array_equal(elsewhere.probabilities, ask(path, specs[path], images_u8).probabilities)


@pytest.fixture
def answering(monkeypatch, tmp_path):
    """Measures a file that gives the probabilities asked for, against a network that gives others."""

    def measure(answers: list[float], reference: list[float], labels: list[int] | None) -> measures.Parity:
        given = Answers("fake", "1", np.array(answers, np.float32), milliseconds=1.0)
        monkeypatch.setattr(measures, "ask", lambda path, spec, images_u8: given)
        (tmp_path / "model_float32.onnx").write_bytes(b"12345")
        known = None if labels is None else np.array(labels)
        images = measures.EvaluationSet(
            "made up", np.zeros((len(answers), 8, 8), np.uint8), known, np.float32(reference)
        )
        spec = SPEC.with_tensors((Tensor("grey", "float32"), Tensor("probability", "float32")))
        return measures.measure([(tmp_path / "model_float32.onnx", spec)], images)

    return measure


def test_decisions_are_counted_at_the_threshold_which_is_positive_itself(answering):
    measured = answering([0.5, 0.4, 0.6, 0.1], [0.5, 0.5, 0.7, 0.49], [1, 0, 1, 0])
    one = measured.files[0]
    assert one.decisions_changed == 1
    assert one.largest_difference == pytest.approx(0.39)
    assert one.percentile_99_difference == pytest.approx(0.3813)
    assert (measured.float_auc, one.auc) == (pytest.approx(0.875), 1.0)


def test_area_is_unknown_without_labels_of_both_classes(answering):
    assert answering([0.1, 0.2], [0.1, 0.2], None).float_auc is None
    assert answering([0.1, 0.2], [0.1, 0.2], [1, 1]).files[0].auc is None


@pytest.mark.parametrize("answer", [0.30002, float("nan")])
def test_a_float_file_that_disagrees_is_refused(answering, answer):
    with pytest.raises(GateError, match="model_float32.onnx"):
        measures.require_float_agreement(answering([answer], [0.3], [1]))


def test_a_float_file_that_agrees_is_accepted(answering):
    measures.require_float_agreement(answering([0.300005], [0.3], [1]))


def test_a_float_file_is_measured_by_the_rounding_of_the_network_itself(answering):
    measured = answering([0.30003], [0.3], [1])
    with pytest.raises(GateError):
        measures.require_float_agreement(measured)
    measures.require_float_agreement(dataclasses.replace(measured, float_tolerance=4e-5))
