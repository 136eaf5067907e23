"""edge-parity, as a user calls it: on a folder, on a run, on bad input."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from export.parity_cli import main
from train.phantom import draw

OPEN_LIMITS = [
    *("--limit-auc", "1", "--limit-changed", "1", "--limit-distance", "1"),
    *("--limit-percentile-99", "1", "--limit-sensitivity", "1", "--limit-specificity", "1"),
]


@pytest.fixture
def edge_parity() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve phantoms that no run has seen, in folders named as the classes."""
    for index in range(12):
        target = tmp_path / "images" / ("fractured" if index % 2 else "not fractured") / f"{index}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(31, index).image_u8).save(target)
    return tmp_path / "images"


@pytest.fixture
def cnn(make_bundle) -> Path:
    return make_bundle("cnn")


def test_every_file_on_every_engine_is_measured_and_told(edge_parity, cnn, folder):
    done = edge_parity(cnn, folder, "--json", *OPEN_LIMITS)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    pairs = {(one["file"], one["engine"]) for one in found["files"]}
    assert pairs == {
        *((f"model_{precision}.tflite", "litert") for precision in ("int8", "float32")),
        *((f"model_{precision}.onnx", "onnxruntime") for precision in ("int8", "float32")),
    }
    assert found["images"] == 12 and found["float_auc"] is not None
    assert all(one["steady"] for one in found["steady"])
    assert [reason.split()[0] for reason in found["not_run"]] == ["tflite-runtime"]
    assert set(found["layers"]) == {"model_int8.tflite", "model_int8.onnx"}
    assert "bundle" in found["reference"]


def test_the_worst_images_come_first_with_the_answers_of_all(edge_parity, cnn, folder):
    worst = json.loads(edge_parity(cnn, folder, "--json", "--worst", 12, *OPEN_LIMITS).stdout)["worst"]

    def largest(entry) -> float:
        return max(abs(answer - entry["reference"]) for file, answer in entry["answers"].items() if "int8" in file)

    differences = [largest(entry) for entry in worst]
    assert differences == sorted(differences, reverse=True) and len({entry["path"] for entry in worst}) == 12
    assert all((folder / entry["path"]).is_file() for entry in worst)


def test_a_run_gives_its_network_and_its_test_split(edge_parity, make_run, tmp_path):
    from export.exporter import export
    from export.quiet import quiet_converters
    from export.request import ExportRequest
    from tests.export.conftest import NO_LIMITS, TEST_IMAGES

    run = make_run("cnn")
    with quiet_converters():
        export(ExportRequest(run, tmp_path / "b", int8=True, recipe="minmax", limits=NO_LIMITS))
    found = json.loads(edge_parity(tmp_path / "b", "--run", run, "--json", *OPEN_LIMITS).stdout)
    assert found["images"] == TEST_IMAGES and "Keras" in found["reference"]
    floats = [one for one in found["files"] if "float32" in one["file"]]
    assert all(one["largest_difference"] <= found["float_tolerance"] for one in floats)


def test_a_page_with_pictures_is_written(edge_parity, cnn, folder, tmp_path):
    done = edge_parity(cnn, folder, "--out", tmp_path / "report", *OPEN_LIMITS)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") == 2 and "<script" not in page and str(folder.parent) not in page
    assert json.loads((tmp_path / "report" / "parity.json").read_text())["images"] == 12
    with Image.open(tmp_path / "report" / "layers.png") as picture:
        assert picture.width > 500


def test_a_bundle_that_breaks_a_limit_ends_with_exit_4_after_its_table(edge_parity, cnn, folder):
    done = edge_parity(cnn, folder, "--limit-percentile-99", "0")
    assert done.exit_code == 4
    assert "model_int8.tflite" in done.stdout and "failed" in done.stdout


def test_an_altered_bundle_ends_with_exit_3(edge_parity, cnn, folder, tmp_path):
    altered = shutil.copytree(cnn, tmp_path / "altered")
    data = bytearray((altered / "model_int8.tflite").read_bytes())
    data[len(data) // 2] ^= 1
    (altered / "model_int8.tflite").write_bytes(data)
    done = edge_parity(altered, folder)
    assert done.exit_code == 3 and "model_int8.tflite" in done.output


def test_another_run_ends_with_exit_3(edge_parity, cnn, make_run):
    done = edge_parity(cnn, "--run", make_run("mobilenetv2"))
    assert done.exit_code == 3 and "another network" in done.output


def test_images_that_calibrated_the_bundle_are_refused(edge_parity, cnn, folder, make_run):
    calibration = make_run("cnn") / "calibration"
    shutil.copy(next(path for path in sorted(calibration.rglob("*.png"))), folder / "fractured")
    done = edge_parity(cnn, folder)
    assert done.exit_code == 2 and "1 of 13 images calibrated the bundle" in done.output


@pytest.mark.parametrize("arguments", [[], ["missing"], ["empty"]])
def test_without_images_it_ends_with_exit_2(edge_parity, cnn, tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    done = edge_parity(cnn, *(tmp_path / name for name in arguments))
    assert done.exit_code == 2 and "image" in done.output


def test_an_interpreter_without_the_engine_is_named(edge_parity, cnn, folder):
    done = edge_parity(cnn, folder, "--tflite-python", shutil.which("python3") or os.sys.executable)
    assert done.exit_code == 5 and "cannot run tflite-runtime" in done.output


@pytest.mark.parametrize("foreign", ["thesis.txt", "report.html"])
def test_a_folder_with_anything_else_is_not_written_into(edge_parity, tiny_bundle, tmp_path, foreign):
    (tmp_path / foreign).write_text("years of work")
    done = edge_parity(tiny_bundle, tmp_path, "--out", tmp_path)
    assert done.exit_code == 2 and "nothing was overwritten" in done.output
    assert [path.name for path in tmp_path.iterdir()] == [foreign]
