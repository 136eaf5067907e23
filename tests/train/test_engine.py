"""edge-train from a folder of images to a run folder, on phantoms."""

import csv
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError, GateError
from edge_runtime.spec import ModelSpec
from train.fit.backend import prepare_backend

prepare_backend(0)

from train.engine import train_and_evaluate  # noqa: E402
from train.metrics import measure  # noqa: E402

PARTS = {
    *("run.json", "model.keras", "spec.json", "split.csv", "calibration", "metrics.json", "history.csv", "plots"),
    *("predictions.csv", "report.html"),
}


@pytest.fixture(scope="module")
def run(phantoms, tmp_path_factory, small_config):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_and_evaluate(small_config(), phantoms, folder)
    return folder


def test_a_run_holds_everything_that_export_reads(run):
    assert {path.name for path in run.iterdir()} == PARTS
    record = json.loads((run / "run.json").read_text())
    assert record["leaked"] is False and record["config"]["model"] == "cnn"
    spec = ModelSpec.from_json((run / "spec.json").read_text())
    assert (spec.size, spec.labels, spec.domain) == (32, ("not_fractured", "fractured"), "phantom")


def test_the_figures_can_be_counted_again_from_the_predictions(run):
    with (run / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with (run / "split.csv").open() as stream:
        test = {(row["path"], row["sha256"], row["group"]) for row in csv.DictReader(stream) if row["split"] == "test"}
    assert {(row["path"], row["sha256"], row["group"]) for row in rows} == test and len(rows) == len(test)
    labels, groups = (np.array([int(row[name]) for row in rows]) for name in ("label", "group"))
    probabilities = np.array([float(row["probability"]) for row in rows])
    figures = json.loads((run / "metrics.json").read_text())["test_files"]
    again = measure(labels, probabilities, figures["threshold"], groups)
    assert json.loads(json.dumps(again.to_dict())) == figures
    assert [int(row["decision"]) for row in rows] == (probabilities >= figures["threshold"]).astype(int).tolist()


def test_no_unfinished_folder_is_left(run):
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_calibration_images_are_training_images_with_their_hashes(run):
    with (run / "split.csv").open() as stream:
        split_of = {row["path"]: row["split"] for row in csv.DictReader(stream)}
    with (run / "calibration" / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert sorted(row["label"] for row in rows) == ["0"] * 6 + ["1"] * 6
    for row in rows:
        image = run / "calibration" / row["path"]
        assert split_of[row["source"]] == "train"
        assert hashlib.sha256(image.read_bytes()).hexdigest() == row["sha256"]
        with Image.open(image) as opened:
            assert (opened.mode, opened.size) == ("L", (32, 32))


def test_the_same_seed_gives_the_same_network(run, phantoms, tmp_path, small_config, weights_of):
    train_and_evaluate(small_config(), phantoms, tmp_path / "again")
    for first, second in zip(weights_of(run), weights_of(tmp_path / "again"), strict=True):
        np.testing.assert_array_equal(first, second)


def test_other_settings_do_not_resume_a_run(phantoms, tmp_path, interrupt_after_epochs, small_config):
    with interrupt_after_epochs(0):
        train_and_evaluate(small_config(), phantoms, tmp_path / "run")
    with pytest.raises(DataError, match="--resume"):
        train_and_evaluate(small_config(), phantoms, tmp_path / "run")
    with pytest.raises(DataError, match="other settings"):
        train_and_evaluate(small_config(epochs=3), phantoms, tmp_path / "run", resume=True)


def test_an_existing_run_is_never_overwritten(run, phantoms, small_config):
    with pytest.raises(DataError, match="exists already"):
        train_and_evaluate(small_config(), phantoms, run)


def test_a_refused_run_is_not_in_the_way_of_the_next(leaking, tmp_path, small_config):
    with pytest.raises(GateError):
        train_and_evaluate(small_config(), leaking, tmp_path / "runs" / "run")
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_accepted_leak_marks_every_figure(leaking, tmp_path, small_config):
    evaluation = train_and_evaluate(small_config(epochs=1, accept_leak=True), leaking, tmp_path / "run")
    assert evaluation.leaked
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count(">leaked<") == 4 * len(evaluation.rows())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["leaked"] is True
