"""Which answers of another processor pass: LiteRT by its bits, float by a tolerance, every int8 file by the gate."""

from __future__ import annotations

import numpy as np
import pytest

from tools.pi.comparison import FEWEST_TO_RANK, compare

STEP = 1 / 256  # of an int8 probability
LITERT, ONNX, FLOAT = (
    ("model_int8.tflite", "litert"),
    ("model_int8.onnx", "onnxruntime"),
    ("model_float32.tflite", "litert"),
)


def row(file_and_engine, found, here, exact=None):
    file, engine = file_and_engine
    precision = "float32" if "float32" in file else "int8"
    where = {"network": "n", "file": file, "precision": precision, "engine": engine, "system": "s", "processor": "p"}
    return compare(where, found, here, here if exact is None else exact, threshold=0.5, peak_mb=1.0)


@pytest.fixture
def answers() -> np.ndarray:
    """Probabilities of 200 images, the fractured ones, at odd places, above the threshold."""
    return np.where(np.arange(200) % 2, 0.75, 0.25) + np.random.default_rng(4).uniform(-0.1, 0.1, 200)


def test_the_same_answers_pass_everywhere(answers):
    for kind in (LITERT, ONNX, FLOAT):
        found = row(kind, answers, answers)
        assert found.passed and (found.identical, found.largest, found.decisions_changed) == (200, 0, 0)
    assert (row(LITERT, answers, answers).verdict, row(FLOAT, answers, answers).verdict) == ("passed", "not judged")


def test_one_other_bit_fails_litert_and_no_other_engine(answers):
    found = answers.copy()
    found[7] += STEP
    assert not row(LITERT, found, answers).passed
    assert row(ONNX, found, answers).passed and row(ONNX, found, answers).identical == 199


@pytest.mark.parametrize(("difference", "passes"), [(0.9e-5, True), (1.1e-5, False), (np.nan, False)])
def test_float_is_held_to_its_tolerance(answers, difference, passes):
    assert row(FLOAT, answers + difference, answers).passed is passes


def test_what_the_gate_refuses_fails_although_this_machine_says_the_same(answers):
    off = answers.copy()
    off[:10] = 1 - off[:10]
    found = row(ONNX, off, off, exact=answers)
    assert not found.passed and found.verdict == "failed"
    assert (found.decisions_changed, found.changed_to_float) == (0, 10)
    assert any("10 of 200 decisions changed" in reason for reason in found.reasons)


def test_few_images_are_judged_by_decisions_and_distances_alone(answers):
    few = answers[: FEWEST_TO_RANK // 10]
    swapped = few.copy()
    swapped[[0, 2]] += 0.05  # another order, the same decisions
    assert row(ONNX, swapped, swapped, exact=few).verdict == "too small"
    assert row(ONNX, 1 - few, 1 - few, exact=few).verdict == "failed"
