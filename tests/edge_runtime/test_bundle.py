"""Opening what edge-export wrote: the right file for the engine, and nothing that was altered."""

from __future__ import annotations

import json
import shutil

import pytest

from edge_runtime import bundle as bundles
from edge_runtime import engines
from edge_runtime.bundle import model_files, open_model, read_manifest, verify_bundle
from edge_runtime.embedded_spec import read_embedded_spec
from edge_runtime.errors import DependencyError, ModelError

ALL = set(engines.NAMES)


@pytest.fixture
def installed(monkeypatch):
    """Sets which engines count as installed."""
    return lambda *names: monkeypatch.setattr(engines, "is_installed", lambda name: name in names)


def rewrite_manifest(bundle, change) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


def keep_only(bundle, *names: str) -> None:
    """Makes a device bundle: fewer model files, and the manifest says so."""

    def drop(manifest):
        for name in model_files(manifest):
            if name not in names:
                (bundle / name).unlink()
                del manifest["files"][name]

    rewrite_manifest(bundle, drop)


# Which file, which engine


@pytest.mark.parametrize(
    ("there", "engine", "name"),
    [
        (engines.NAMES, "litert", "model_int8.tflite"),
        (("tflite-runtime", "onnxruntime"), "tflite-runtime", "model_int8.tflite"),
        (("onnxruntime",), "onnxruntime", "model_int8.onnx"),
    ],
)
def test_int8_and_the_first_installed_engine_are_the_default(tiny_bundle, installed, there, engine, name):
    installed(*there)
    chosen = open_model(tiny_bundle)
    assert (chosen.engine, chosen.path.name) == (engine, name)
    assert chosen.spec == read_embedded_spec(tiny_bundle / name).spec


@pytest.mark.parametrize("engine", engines.NAMES)
def test_a_wanted_engine_gets_its_own_int8_file(tiny_bundle, installed, engine):
    installed(*ALL)
    chosen = open_model(tiny_bundle, engine)
    assert (chosen.engine, chosen.path) == (engine, tiny_bundle / f"model_int8{engines.suffix_of(engine)}")


def test_float32_serves_where_there_is_no_int8(bundle_copy, installed):
    installed(*ALL)
    keep_only(bundle_copy, "model_float32.onnx", "model_float32.tflite")
    assert open_model(bundle_copy).path.name == "model_float32.tflite"


def test_int8_of_the_second_engine_comes_before_float32_of_the_first(bundle_copy, installed):
    installed(*ALL)
    keep_only(bundle_copy, "model_float32.tflite", "model_int8.onnx")
    chosen = open_model(bundle_copy)
    assert (chosen.engine, chosen.path.name) == ("onnxruntime", "model_int8.onnx")


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx"])
def test_one_model_file_alone_is_enough(tiny_bundle, tmp_path, name):
    alone = shutil.copy(tiny_bundle / name, tmp_path / f"renamed{(tiny_bundle / name).suffix}")
    assert open_model(alone).sha256 == read_embedded_spec(tiny_bundle / name).model_sha256


def test_a_wanted_engine_without_a_file_is_a_model_error(bundle_copy):
    keep_only(bundle_copy, "model_int8.onnx")
    with pytest.raises(ModelError, match="no model file that litert runs"):
        open_model(bundle_copy, "litert")


def test_a_wanted_engine_that_does_not_run_the_single_file_is_a_model_error(tiny_bundle):
    with pytest.raises(ModelError, match=r"onnxruntime runs \.onnx files"):
        open_model(tiny_bundle / "model_int8.tflite", "onnxruntime")


@pytest.mark.parametrize(
    ("engine", "extra"),
    [("auto", "litert"), ("litert", "litert"), ("tflite-runtime", "tflite"), ("onnxruntime", "onnx")],
)
def test_a_missing_engine_is_an_error_with_the_install_command(tiny_bundle, installed, engine, extra):
    installed()
    with pytest.raises(DependencyError, match=rf'pip install "fracture-edge-runtime\[{extra}\]"'):
        open_model(tiny_bundle, engine)


# What is refused


def test_a_whole_bundle_is_verified(tiny_bundle):
    assert set(verify_bundle(tiny_bundle)["files"]) >= set(model_files(read_manifest(tiny_bundle)))
    assert len(model_files(read_manifest(tiny_bundle))) == 4


def test_the_manifest_lists_every_file_but_itself(tiny_bundle):
    there = {path.relative_to(tiny_bundle).as_posix() for path in tiny_bundle.rglob("*") if path.is_file()}
    assert set(read_manifest(tiny_bundle)["files"]) == there - {"manifest.json"}


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx", "golden/expected.json", "MODEL_CARD.md"])
def test_an_altered_file_is_a_model_error(bundle_copy, name):
    content = bytearray((bundle_copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}.*was altered"):
        verify_bundle(bundle_copy)


def test_an_altered_model_is_not_opened(bundle_copy):
    path = bundle_copy / "model_int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="was altered"):
        open_model(bundle_copy, "onnxruntime")


def test_a_missing_file_is_a_model_error(bundle_copy):
    (bundle_copy / "model_int8.onnx").unlink()
    with pytest.raises(ModelError, match="missing; copy the bundle again"):
        open_model(bundle_copy, "onnxruntime")


def test_a_bundle_without_models_is_a_model_error(bundle_copy):
    keep_only(bundle_copy)
    with pytest.raises(ModelError, match="holds no model file"):
        open_model(bundle_copy)


def test_a_foreign_folder_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="not a bundle"):
        open_model(tmp_path)


def test_nothing_there_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        open_model(tmp_path / "absent")


def test_a_file_of_another_kind_is_a_model_error(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(ModelError, match=r"ending in \.tflite or \.onnx"):
        open_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "{}", '{"format": 2, "files": {}}', '{"format": 1}', "[" * 100_000]
)
def test_a_manifest_of_another_form_is_a_model_error(bundle_copy, text):
    (bundle_copy / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        open_model(bundle_copy)


@pytest.mark.parametrize("record", [None, {}, {"size": 1}, "x", []])
def test_a_manifest_without_size_and_digest_is_a_model_error(bundle_copy, record):
    rewrite_manifest(bundle_copy, lambda manifest: manifest["files"].update({"model_int8.onnx": record}))
    with pytest.raises(ModelError, match=r"model_int8\.onnx"):
        open_model(bundle_copy, "onnxruntime")


def test_a_bundle_in_the_installed_package_is_found(bundle_copy, monkeypatch):
    assert bundles.shipped_bundle() is None
    monkeypatch.setattr(bundles, "_SHIPPED_BUNDLE", bundle_copy)
    assert bundles.shipped_bundle() == bundle_copy
