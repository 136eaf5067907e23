"""The self-test of a device: it passes where export's answers come out again, and fails where they do not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edge_runtime import self_test
from edge_runtime.errors import DependencyError, ModelError
from edge_runtime.self_test import (
    FLOAT_TOLERANCE,
    INT8_TOLERANCE,
    SAME_ENGINE_TOLERANCE,
    SelfTestResult,
    run_self_test,
)


def rewrite(bundle: Path, name: str, content: bytes | None) -> None:
    """Alters a file and its record in the manifest, as someone would who meant to; None removes both."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    if content is None:
        (bundle / name).unlink()
        del manifest["files"][name]
    else:
        (bundle / name).write_bytes(content)
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_every_file_passes_with_every_installed_engine(tiny_bundle):
    results = list(run_self_test(tiny_bundle, threads=1))
    assert [(result.file, result.engine.split()[0]) for result in results] == [
        ("model_int8.tflite", "litert"),
        ("model_int8.onnx", "onnxruntime"),
        ("model_float32.tflite", "litert"),
        ("model_float32.onnx", "onnxruntime"),
    ]
    assert all(result.passed and result.images == 8 for result in results)
    tolerances = [SAME_ENGINE_TOLERANCE, INT8_TOLERANCE, FLOAT_TOLERANCE, FLOAT_TOLERANCE]
    assert [result.tolerance for result in results] == tolerances
    assert all(result.decisions_changed == 0 for result in results)


def alter_answers(bundle: Path, file: str, change: float, image: str = "phantom_008.png") -> float:
    """Adds to the recorded probability of one image; the probability as it was."""
    expected = json.loads((bundle / "golden" / "expected.json").read_bytes())
    before = expected[image][file]["probability"]
    expected[image][file]["probability"] = before + change
    rewrite(bundle, "golden/expected.json", json.dumps(expected).encode())
    return before


def result_of(bundle: Path, file: str) -> SelfTestResult:
    return next(result for result in run_self_test(bundle) if result.file == file)


def test_an_expected_answer_that_is_no_number_is_a_model_error(bundle_copy):
    alter_answers(bundle_copy, "model_int8.tflite", float("nan"))
    with pytest.raises(ModelError, match="NaN is no number of JSON"):
        result_of(bundle_copy, "model_int8.tflite")


@pytest.mark.parametrize(("change", "passes"), [(1 / 256, True), (2 / 256, False)])
def test_the_engine_that_export_used_is_held_to_one_step(bundle_copy, change, passes):
    alter_answers(bundle_copy, "model_int8.tflite", change)
    assert result_of(bundle_copy, "model_int8.tflite").passed == passes


@pytest.mark.parametrize(
    "parity", [None, {}, {"files": []}, {"files": [{"file": "model_int8.tflite"}]}, "other release"]
)
def test_another_or_an_unknown_release_is_held_to_the_wide_tolerance(bundle_copy, parity):
    manifest = json.loads((bundle_copy / "manifest.json").read_bytes())
    if parity == "other release":
        for record in manifest["parity"]["files"]:
            record["engine_version"] = "2.2.9"
    else:
        manifest["parity"] = parity
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    alter_answers(bundle_copy, "model_int8.tflite", 0.09)
    result = result_of(bundle_copy, "model_int8.tflite")
    assert result.passed and result.tolerance == INT8_TOLERANCE


def test_a_changed_decision_fails_although_it_is_one_step(bundle_copy):
    # The recorded probability of this image is the threshold itself.
    before = alter_answers(bundle_copy, "model_int8.tflite", -1 / 256, "phantom_140.png")
    result = result_of(bundle_copy, "model_int8.tflite")
    assert (before, result.decisions_changed, result.passed) == (0.5, 1, False)
    assert result.largest_difference < result.tolerance


def test_a_failure_names_the_worst_image(bundle_copy):
    alter_answers(bundle_copy, "model_float32.onnx", 0.001, "phantom_013.png")
    before = alter_answers(bundle_copy, "model_float32.onnx", 0.2)
    result = result_of(bundle_copy, "model_float32.onnx")
    assert result.worst_image == "phantom_008.png" and not result.passed
    assert result.expected == before + 0.2 and abs(result.found - before) < 1e-5


@pytest.mark.parametrize("file", ["model_float32.onnx", "model_int8.tflite"])
def test_another_answer_fails_for_its_file_alone(bundle_copy, file):
    expected = json.loads((bundle_copy / "golden" / "expected.json").read_bytes())
    answer = expected["phantom_008.png"][file]
    answer["probability"] += 1.5 * INT8_TOLERANCE
    rewrite(bundle_copy, "golden/expected.json", json.dumps(expected).encode())
    assert [result.file for result in run_self_test(bundle_copy) if not result.passed] == [file]


def test_an_altered_golden_image_is_a_model_error(bundle_copy):
    path = bundle_copy / "golden" / "phantom_008.png"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="altered"):
        list(run_self_test(bundle_copy))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "needs a bundle with golden images"),
        (b"{}", "lists no images"),
        (b"{", "export the bundle again"),
        (b"[]", "export the bundle again"),
        (b'{"phantom_008.png": {}}', "export the bundle again"),
        (b'{"phantom_008.png": {"model_int8.tflite": {"probability": "high"}}}', "export the bundle again"),
    ],
)
def test_expected_answers_that_do_not_serve_are_a_model_error(bundle_copy, content, says):
    rewrite(bundle_copy, "golden/expected.json", content)
    with pytest.raises(ModelError, match=says):
        list(run_self_test(bundle_copy))


def test_no_engine_at_all_is_an_error_with_the_install_command(tiny_bundle, monkeypatch):
    monkeypatch.setattr(self_test, "is_installed", lambda name: False)
    with pytest.raises(DependencyError, match="pip install"):
        list(run_self_test(tiny_bundle))


def test_a_device_bundle_tests_the_files_it_has(bundle_copy):
    for name in ("model_int8.onnx", "model_float32.onnx", "model_float32.tflite"):
        rewrite(bundle_copy, name, None)
    assert [result.file for result in run_self_test(bundle_copy)] == ["model_int8.tflite"]


def test_a_bundle_without_models_is_a_model_error(bundle_copy):
    for name in ("model_int8.onnx", "model_float32.onnx", "model_float32.tflite", "model_int8.tflite"):
        rewrite(bundle_copy, name, None)
    with pytest.raises(ModelError, match="no model file"):
        list(run_self_test(bundle_copy))


def test_a_golden_image_that_the_manifest_does_not_list_is_a_model_error(bundle_copy):
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_bytes())
    name = next(name for name in manifest["files"] if name.startswith("golden/") and name.endswith(".png"))
    del manifest["files"][name]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="the manifest lists no"):
        list(run_self_test(bundle_copy))
