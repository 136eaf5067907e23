"""The bundle as a whole: complete, verifiable, and written all at once or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from edge_runtime.bundle import open_model, verify_bundle
from edge_runtime.errors import DataError, GateError
from export import exporter
from export.bundle.writer import is_bundle, new_bundle, refuse_foreign, write_manifest
from export.exporter import export
from export.parity import measures
from export.quiet import quiet_converters
from export.request import ExportRequest


def tree(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_manifest_lists_every_file_with_its_hash(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == present - {"manifest.json"}
    for name, record in manifest["files"].items():
        content = (bundle / name).read_bytes()
        assert record == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_runtime_verifies_and_opens_the_bundle(bundle):
    verify_bundle(bundle)
    assert open_model(bundle).path.name == "model_int8.tflite"
    assert open_model(bundle, engine="onnxruntime").path.name == "model_int8.onnx"


def test_manifest_says_how_the_bundle_was_made(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["recipe"] == "minmax" and manifest["leaked"] is False
    assert len(manifest["calibration"]) == 12 and all(len(one["sha256"]) == 64 for one in manifest["calibration"])
    assert manifest["parity"]["verdict"] == "passed"
    assert manifest["proven_on"] and manifest["versions"]["tensorflow"]


def test_no_image_name_of_the_user_is_in_the_bundle(bundle):
    for name in ("manifest.json", "parity.json", "MODEL_CARD.md", "report.html"):
        assert "013.png" not in (bundle / name).read_text().replace("phantom_013.png", "")


def test_the_leaked_mark_passes_into_manifest_and_card(make_run, tmp_path, few_candidates, caplog):
    caplog.set_level("WARNING", "export")
    request = ExportRequest(make_run(leaked=True), tmp_path / "bundle", formats=("onnx",))
    with quiet_converters():
        export(request)
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text())["leaked"] is True
    assert "share radiographs" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "share radiographs" in caplog.messages[0]


def test_the_same_run_gives_the_same_model_bytes(make_run, make_bundle, tmp_path, few_candidates):
    with quiet_converters():
        request = ExportRequest(make_run("cnn"), tmp_path / "again", int8=True, recipe="minmax", force=True)
        export(request)
    for name in ("model_float32.tflite", "model_float32.onnx", "model_int8.tflite", "model_int8.onnx"):
        assert (tmp_path / "again" / name).read_bytes() == (make_bundle("cnn") / name).read_bytes(), name


@pytest.mark.parametrize("formats", [("tflite",), ("onnx",)])
def test_the_same_export_twice_gives_the_same_bundle_byte_for_byte(make_run, tmp_path, few_candidates, formats):
    run = make_run("cnn")
    for name in ("one", "two"):
        with quiet_converters():
            request = ExportRequest(run, tmp_path / name, int8=True, recipe="minmax", force=True, formats=formats)
            export(request)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    for name in tree(tmp_path / "one"):
        if (tmp_path / "one" / name).is_file():
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    assert "milliseconds" not in (tmp_path / "one" / "parity.json").read_text()


def test_a_failure_late_in_the_export_leaves_the_earlier_bundle_as_it_was(make_run, make_bundle, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    shutil.copytree(make_bundle("cnn"), out)
    before = tree(tmp_path)
    monkeypatch.setattr(exporter, "write_manifest", lambda folder, facts: 1 / 0)
    with quiet_converters(), pytest.raises(ZeroDivisionError):
        export(ExportRequest(make_run("cnn"), out, formats=("onnx",)))
    assert tree(tmp_path) == before
    verify_bundle(out)


def test_a_float_file_that_differs_from_the_network_ends_the_export_without_a_bundle(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "FLOAT_TOLERANCE", -1.0)
    monkeypatch.setattr(measures, "ROUNDING_FACTOR", -1.0)
    with quiet_converters(), pytest.raises(GateError, match="differs from the trained network's"):
        export(ExportRequest(make_run("cnn"), tmp_path / "bundle", formats=("onnx",)))
    assert not tree(tmp_path)


def test_a_folder_that_is_no_bundle_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="is not a bundle"), new_bundle(tmp_path):
        pass
    assert tree(tmp_path) == {"thesis.txt"}


def test_an_earlier_bundle_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with new_bundle(tmp_path / "bundle") as folder:
            (folder / content).touch()
            write_manifest(folder, {"spec": {}})
    assert tree(tmp_path) == {"bundle", "bundle/manifest.json", "bundle/new"}


@pytest.fixture
def few_candidates(monkeypatch) -> None:
    """Golden images are chosen from fewer phantoms: drawing them all takes seconds."""
    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)


FOREIGN = {
    "a web app": '{"name": "my web app"}',
    "no JSON": "old",
    "a list": "[]",
    "true is no 1": '{"format": true, "spec": {}, "files": {"thesis.txt": {}}}',
    "lists nothing": '{"format": 1, "spec": {}, "files": {}}',
    "no spec": '{"format": 1, "files": {"thesis.txt": {}}}',
}


@pytest.mark.parametrize("manifest", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_with_somebody_elses_manifest_is_no_bundle(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="is not a bundle"):
        refuse_foreign(tmp_path)
    assert tree(tmp_path) == {"manifest.json", "thesis.txt"}


@pytest.mark.parametrize("added", ["notes.txt", ".hidden", "golden/mine.png", "empty folder/", "link@"])
def test_a_bundle_with_anything_unlisted_is_not_replaced(bundle_copy, added):
    path = bundle_copy / added.rstrip("/@")
    if added.endswith("/"):
        path.mkdir()
    elif added.endswith("@"):
        path.symlink_to("/")
    else:
        path.touch()
    assert not is_bundle(bundle_copy)
    with pytest.raises(DataError, match="is not a bundle"):
        refuse_foreign(bundle_copy)
    assert path.exists()


def test_a_damaged_bundle_may_be_replaced(bundle_copy):
    (bundle_copy / "model_int8.onnx").unlink()
    assert is_bundle(bundle_copy)


def test_of_the_state_of_fine_tuning_only_what_is_ours_is_removed(tmp_path):
    state = tmp_path / ".bundle.fine-tuning"
    state.mkdir()
    (state / "0123456789abcdef.npz").touch()
    (state / "thesis.npz").touch()
    exporter._remove_state(state)
    assert tree(tmp_path) == {".bundle.fine-tuning", ".bundle.fine-tuning/thesis.npz"}
    (state / "thesis.npz").unlink()
    exporter._remove_state(state)
    assert not tree(tmp_path)
