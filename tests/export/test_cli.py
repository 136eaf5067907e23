"""edge-export as a command: what it refuses, with which exit code, and what it prints where."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from export.cli import main


@pytest.fixture
def edge_export():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_names_every_option_without_importing_tensorflow():
    code = (
        "import sys; from export.cli import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'tensorflow', 'keras', 'onnx', 'sklearn'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in ("--int8", "--out", "--calibration", "--data", "--spec", "--formats", "--recipe", "--force"):
        assert option in done.stdout


def test_the_table_goes_to_stdout_and_nothing_of_the_converters_anywhere(make_run, tmp_path):
    arguments = [str(make_run("cnn")), "--int8", "--out", str(tmp_path / "bundle")]
    code = "import sys; from export.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("model_float32.tflite", "model_float32.onnx", "model_int8.tflite", "model_int8.onnx"):
        assert name in done.stdout
    assert "decisions changed" in done.stdout and "16 images (test split)" in done.stdout


def test_a_network_made_elsewhere_is_exported_with_its_spec(make_run, edge_export, tmp_path, monkeypatch):
    monkeypatch.setattr("export.golden.CANDIDATES", 10)
    run = make_run("cnn")
    given = (run / "model.keras", "--spec", run / "spec.json", "--out", tmp_path / "bundle", "--formats", "tflite")
    done = edge_export(*given, "--int8", "--calibration", run / "calibration")
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["parity"]["measured_on"] == "calibration images"
    assert set(manifest["tensors"]) == {"model_float32.tflite", "model_int8.tflite"}


def test_a_moved_data_root_is_an_error_that_names_data(make_run, edge_export, tmp_path):
    run = make_run("cnn", demo=False, data_root=str(tmp_path / "gone"))
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "--data DIR" in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_an_altered_test_image_is_an_error(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    shutil.copy(run / "data" / "001.png", run / "data" / "003.png")
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "003.png: not the file that split.csv names" in done.stderr


def test_calibrating_on_test_images_is_refused(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    done = edge_export(run, "--int8", "--calibration", run / "data", "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "16 of 28 calibration images are test images" in done.stderr


def test_phantoms_do_not_calibrate_a_network_trained_on_radiographs(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    spec = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps({**spec, "domain": "radiograph"}))
    manifest = run / "calibration" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("source_sha256", "seed"))
    done = edge_export(run, "--int8", "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "--force" in done.stderr


@pytest.mark.parametrize(
    ("damage", "exit_code", "says"),
    [
        (lambda run: (run / "model.keras").unlink(), 3, "edge-train --resume"),
        (lambda run: (run / "spec.json").unlink(), 3, "never guessed"),
        (lambda run: (run / "run.json").unlink(), 3, "a run folder of edge-train was expected"),
        (lambda run: (run / "split.csv").unlink(), 2, "which images are for testing"),
        (lambda run: (run / "split.csv").write_text("path,label\n"), 2, "columns"),
        (lambda run: shutil.rmtree(run / "calibration"), 2, "no such folder of calibration images"),
    ],
)
def test_a_damaged_run_is_an_error_with_its_exit_code(make_run, edge_export, tmp_path, damage, exit_code, says):
    run = make_run("cnn")
    damage(run)
    done = edge_export(run, "--int8", "--out", tmp_path / "bundle")
    assert (done.exit_code, says in done.stderr) == (exit_code, True), done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_no_network_is_a_model_error(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    (run / "model.keras").write_bytes(b"not a network")
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 3 and "cannot be loaded as a Keras network" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["nowhere"], 3), (["nowhere", "--formats", "coreml"], 2), (["nowhere", "--recipe", "magic"], 2), ([], 2)],
)
def test_wrong_usage_has_its_exit_code(edge_export, tmp_path, arguments, exit_code):
    assert edge_export(*arguments, "--out", tmp_path / "bundle").exit_code == exit_code
