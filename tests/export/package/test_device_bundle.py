"""A device bundle holds what one engine runs, and passes as a bundle."""

from __future__ import annotations

import json

import pytest

from edge_runtime.bundle import read_manifest, verify_bundle
from edge_runtime.errors import ModelError
from edge_runtime.self_test import run_self_test
from export.bundle.writer import write_manifest
from export.package.device_bundle import choose_model_file, write_device_bundle


@pytest.mark.parametrize(("engine", "name"), [("litert", "model_int8.tflite"), ("onnxruntime", "model_int8.onnx")])
def test_it_holds_the_int8_file_of_its_engine_alone(tiny_bundle, tmp_path, engine, name):
    assert choose_model_file(tiny_bundle, engine) == name
    write_device_bundle(tiny_bundle, name, tmp_path / "device")
    manifest = verify_bundle(tmp_path / "device")
    on_disk = {p.relative_to(tmp_path / "device").as_posix() for p in (tmp_path / "device").rglob("*") if p.is_file()}
    assert set(manifest["files"]) == on_disk - {"manifest.json"}
    assert [file for file in on_disk if file.startswith("model_")] == [name]
    (result,) = run_self_test(tmp_path / "device", engine=engine)
    assert result.passed and result.images == 8


def test_its_manifest_says_where_it_comes_from(tiny_bundle, tmp_path):
    write_device_bundle(tiny_bundle, "model_int8.tflite", tmp_path / "device")
    full, device = read_manifest(tiny_bundle), read_manifest(tmp_path / "device")
    changed = {key for key in full if full[key] != device.get(key)}
    assert changed <= {"files", "tensors"} and set(device) == set(full)


def test_golden_answers_are_those_of_its_file_alone(tiny_bundle, tmp_path):
    write_device_bundle(tiny_bundle, "model_int8.onnx", tmp_path / "device")
    full = json.loads((tiny_bundle / "golden" / "expected.json").read_bytes())
    device = json.loads((tmp_path / "device" / "golden" / "expected.json").read_bytes())
    assert device == {image: {"model_int8.onnx": of["model_int8.onnx"]} for image, of in full.items()}


def test_a_bundle_without_a_file_for_the_engine_is_refused(bundle_copy):
    facts = {key: value for key, value in read_manifest(bundle_copy).items() if key not in ("format", "files")}
    for path in bundle_copy.glob("*.onnx"):
        path.unlink()
    write_manifest(bundle_copy, facts)
    with pytest.raises(ModelError, match=r"holds no \.onnx file, which onnxruntime runs"):
        choose_model_file(bundle_copy, "onnxruntime")


def test_an_altered_bundle_is_refused(bundle_copy):
    (bundle_copy / "model_int8.tflite").write_bytes(b"altered")
    with pytest.raises(ModelError, match="the file was altered"):
        choose_model_file(bundle_copy, "litert")
