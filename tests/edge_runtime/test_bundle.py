"""Opening what edge-export wrote: the right file for the engine, and nothing that was altered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Predictor, engines
from edge_runtime import bundle as bundles
from edge_runtime.bundle import model_files, open_model, read_manifest, verify_bundle
from edge_runtime.embedded_spec import embed, read_embedded_spec
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


def test_a_bundle_in_the_installed_package_is_found(bundle_copy, monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "_SHIPPED_BUNDLE", tmp_path / "none")
    assert bundles.shipped_bundle() is None
    monkeypatch.setattr(bundles, "_SHIPPED_BUNDLE", bundle_copy)
    assert bundles.shipped_bundle() == bundle_copy


# What whoever alters a bundle, its manifest included, might try


def altered(bundle, name: str, content: bytes) -> None:
    """Writes a file of a bundle and its hash into the manifest."""
    (bundle / name).write_bytes(content)
    record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite_manifest(bundle, lambda manifest: manifest["files"].update({name: record}))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a//b", "./x", "", "a\\b", "C:x", "a\nb", "a/"])
def test_a_name_that_leads_out_of_the_bundle_is_refused(bundle_copy, name):
    record = {"size": 1, "sha256": "0" * 64}
    rewrite_manifest(bundle_copy, lambda manifest: manifest["files"].update({name: record}))
    with pytest.raises(ModelError, match="no name of a file inside a bundle"):
        read_manifest(bundle_copy)


def test_a_link_out_of_the_bundle_is_refused_and_one_inside_is_followed(bundle_copy, tmp_path):
    model = bundle_copy / "model_int8.tflite"
    model.rename(bundle_copy / "moved.tflite")
    model.symlink_to(bundle_copy / "moved.tflite")
    assert open_model(bundle_copy, "litert").path == model
    (bundle_copy / "moved.tflite").rename(tmp_path / "outside.tflite")
    model.unlink()
    model.symlink_to(tmp_path / "outside.tflite")
    with pytest.raises(ModelError, match="leads out of the bundle"):
        open_model(bundle_copy, "litert")


@pytest.mark.parametrize("name", ["manifest.json", "model_int8.tflite"])
def test_a_pipe_in_place_of_a_file_is_an_error_and_no_wait(bundle_copy, name):
    (bundle_copy / name).unlink()
    os.mkfifo(bundle_copy / name)
    with pytest.raises(ModelError, match="a named pipe"):
        open_model(bundle_copy, "litert")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest.update(format=True), "bundle format 1 was expected"),
        (lambda manifest: manifest.update(format=1.0), "bundle format 1 was expected"),
        (lambda manifest: manifest.update(files=[]), "lists no files"),
        (lambda manifest: manifest["files"]["model_int8.tflite"].update(size=True), "no size and SHA-256"),
        (lambda manifest: manifest["files"]["model_int8.tflite"].update(size=-1), "no size and SHA-256"),
        (lambda manifest: manifest["files"]["model_int8.tflite"].update(size=10**9), "size or SHA-256"),
        (lambda manifest: manifest["files"]["model_int8.tflite"].update(sha256=5), "no size and SHA-256"),
        (lambda manifest: manifest.pop("spec"), "gives no spec"),
        (lambda manifest: manifest["spec"].update(labels="ab"), "field labels"),
        (lambda manifest: manifest["spec"].update(threshold=0.25), "its spec is not the bundle's"),
        (lambda manifest: manifest["spec"].update(size=64), "its spec is not the bundle's"),
    ],
)
def test_a_manifest_with_a_wrong_value_is_a_model_error(bundle_copy, change, says):
    rewrite_manifest(bundle_copy, change)
    with pytest.raises(ModelError, match=says):
        open_model(bundle_copy, "litert")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": 1, "format": 1, "files": {}}', "'format' stands twice"),
        ('{"format": 1, "files": {}, "x": NaN}', "NaN"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "bundle format 1"),
    ],
)
def test_a_manifest_that_is_no_plain_json_is_a_model_error(bundle_copy, text, says):
    (bundle_copy / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=says):
        open_model(bundle_copy)


def test_a_spec_of_another_size_than_the_tables_is_refused_before_an_engine_is_imported(tiny_bundle, tmp_path):
    for suffix in (".tflite", ".onnx"):
        model = tiny_bundle / f"model_int8{suffix}"
        embedded = read_embedded_spec(model)
        path = tmp_path / f"model{suffix}"
        path.write_bytes(embed(model.read_bytes()[: embedded.model_bytes], replace(embedded.spec, size=64), suffix))
        code = (
            "import sys\nfrom pathlib import Path\nfrom edge_runtime.bundle import open_model\n"
            f"try: open_model(Path({str(path)!r}))\nexcept Exception as error: print(type(error).__name__, error)\n"
            "print({'ai_edge_litert', 'onnxruntime', 'numpy'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        said, loaded = done.stdout.splitlines()
        assert said.startswith("ModelError") and "[1, 64, 64, 1]" in said and loaded == "set()"


def test_bytes_behind_a_model_that_nobody_listed_are_refused(tiny_bundle, tmp_path):
    for name in ("model_int8.tflite", "model_int8.onnx"):
        path, content = tmp_path / name, (tiny_bundle / name).read_bytes()
        length = read_embedded_spec(tiny_bundle / name).model_bytes
        for changed in (content + b"\0", content[:length] + b"\0" + content[length:]):
            path.write_bytes(changed)
            with pytest.raises(ModelError):
                open_model(path)
        path.write_bytes(content)
        assert open_model(path).content == content


def test_what_is_loaded_are_the_bytes_that_were_verified(bundle_copy):
    opened = open_model(bundle_copy, "litert")
    before = opened.path.read_bytes()
    opened.path.write_bytes(b"something else")
    assert opened.content == before
    image_u8 = np.full((32, 32), 90, np.uint8)
    assert 0 <= Predictor(opened).probability(image_u8) <= 1


@pytest.mark.parametrize(
    "record",
    [
        {"model_bytes": 0},
        {"model_bytes": True},
        {"model_bytes": -5},
        {"model_sha256": "abc"},
        {"more": 1},
        {"spec": None},
    ],
)
def test_a_record_inside_a_file_with_a_wrong_value_is_a_model_error(tiny_bundle, tmp_path, record):
    from edge_runtime import embedded_spec

    for suffix in (".tflite", ".onnx"):
        content = (tiny_bundle / f"model_int8{suffix}").read_bytes()
        embedded = read_embedded_spec(tiny_bundle / f"model_int8{suffix}")
        length = embedded.model_bytes
        whole = {"spec": embedded.spec.to_dict(), "model_sha256": embedded.model_sha256, "model_bytes": length} | record
        path = tmp_path / f"model{suffix}"
        path.write_bytes(content[:length] + embedded_spec._tail(json.dumps(whole).encode(), length, suffix))
        with pytest.raises(ModelError):
            open_model(path)


def test_a_bundle_of_recomputed_hashes_around_a_broken_model_is_a_model_error(bundle_copy):
    name = "model_int8.tflite"
    embedded = read_embedded_spec(bundle_copy / name)
    model = bytearray((bundle_copy / name).read_bytes()[: embedded.model_bytes])
    model[:4] = b"\xff" * 4  # where the root table lies
    altered(bundle_copy, name, embed(bytes(model), embedded.spec, ".tflite"))
    with pytest.raises(ModelError, match="its tables are damaged"):
        open_model(bundle_copy, "litert")


def test_a_file_larger_than_any_model_is_refused_unread(tmp_path):
    path = tmp_path / "model.tflite"
    with path.open("wb") as stream:
        stream.truncate(bundles.MOST_MODEL_BYTES + 1)
    with pytest.raises(ModelError, match="larger than any file of a bundle"):
        open_model(path)
