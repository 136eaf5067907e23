"""edge-train from a folder of images to a run folder, on phantoms."""

import csv
import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError, GateError
from edge_runtime.spec import ModelSpec
from train.config import TrainConfig
from train.fit.backend import prepare_backend

prepare_backend(0)

from train.engine import train_and_evaluate  # noqa: E402
from train.fit import epochs  # noqa: E402
from train.int8.fake_quant import lies_on_grid  # noqa: E402

SMALL = {"image_size": 32, "alpha": 0.35, "epochs": 2, "split": "folders", "draws": 2, "calibration_images": 12}
PARTS = {
    *("run.json", "model.keras", "spec.json", "split.csv", "calibration", "metrics.json", "history.csv", "plots"),
    "report.html",
}


def config(model="cnn", **changes):
    return TrainConfig(model, **{**SMALL, "weights": "none", **changes})


def weights_of(run):
    import keras

    return keras.models.load_model(run / "model.keras").get_weights()


@pytest.fixture(scope="module")
def run(phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_and_evaluate(config(), phantoms, folder)
    return folder


def test_a_run_holds_everything_that_export_reads(run):
    assert {path.name for path in run.iterdir()} == PARTS
    record = json.loads((run / "run.json").read_text())
    assert record["leaked"] is False and record["config"]["model"] == "cnn"
    spec = ModelSpec.from_json((run / "spec.json").read_text())
    assert (spec.size, spec.labels, spec.domain) == (32, ("not_fractured", "fractured"), "phantom")


def test_no_unfinished_folder_is_left(run):
    assert [path.name for path in run.parent.iterdir()] == [run.name]


def test_calibration_images_are_training_images_with_their_hashes(run):
    with (run / "split.csv").open() as stream:
        split_of = {row["path"]: row["split"] for row in csv.DictReader(stream)}
    with (run / "calibration" / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == SMALL["calibration_images"]
    assert sorted(row["label"] for row in rows) == ["0"] * 6 + ["1"] * 6
    for row in rows:
        image = run / "calibration" / row["path"]
        assert split_of[row["source"]] == "train"
        assert hashlib.sha256(image.read_bytes()).hexdigest() == row["sha256"]
        with Image.open(image) as opened:
            assert (opened.mode, opened.size) == ("L", (32, 32))


@pytest.mark.parametrize(("epochs", "phases"), [(2, {"float": 2}), (4, {"float": 3, "on the grid": 1})])
def test_a_mobilenetv2_from_random_values_ends_on_the_int8_grid(phantoms, tmp_path, epochs, phases):
    import keras

    train_and_evaluate(config("mobilenetv2", epochs=epochs), phantoms, tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open() as stream:
        assert Counter(row["phase"] for row in csv.DictReader(stream)) == phases
    assert lies_on_grid(keras.models.load_model(tmp_path / "run" / "model.keras")) == (len(phases) == 2)


def test_the_same_seed_gives_the_same_network(run, phantoms, tmp_path):
    train_and_evaluate(config(), phantoms, tmp_path / "again")
    for first, second in zip(weights_of(run), weights_of(tmp_path / "again"), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("model", ["cnn", "mobilenetv2"])
def test_a_killed_run_resumes_to_the_same_network(model, phantoms, tmp_path, monkeypatch):
    settings = config(model, weights=transfer_weights(tmp_path) if model == "mobilenetv2" else "none")
    train_and_evaluate(settings, phantoms, tmp_path / "whole")
    interrupt_after_epochs(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(settings, phantoms, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    monkeypatch.undo()
    train_and_evaluate(settings, phantoms, tmp_path / "killed", resume=True)
    for first, second in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(first, second)


def interrupt_after_epochs(monkeypatch, whole):
    """Ends the process' work as Ctrl-C would, in the epoch after so many whole ones."""
    run_epoch, done = epochs._run_epoch, []

    def run_or_stop(phase, epoch):
        if len(done) == whole:
            raise KeyboardInterrupt
        done.append(epoch)
        return run_epoch(phase, epoch)

    monkeypatch.setattr(epochs, "_run_epoch", run_or_stop)


def transfer_weights(folder):
    """A file of backbone weights, random but fixed: transfer learning needs no ImageNet to be exercised."""
    import keras

    path = folder / "backbone.weights.h5"
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)
    return str(path)


def test_other_settings_do_not_resume_a_run(phantoms, tmp_path, monkeypatch):
    interrupt_after_epochs(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        train_and_evaluate(config(), phantoms, tmp_path / "run")
    with pytest.raises(DataError, match="--resume"):
        train_and_evaluate(config(), phantoms, tmp_path / "run")
    with pytest.raises(DataError, match="other settings"):
        train_and_evaluate(config(epochs=3), phantoms, tmp_path / "run", resume=True)


def test_an_existing_run_is_never_overwritten(run, phantoms):
    with pytest.raises(DataError, match="exists already"):
        train_and_evaluate(config(), phantoms, run)


@pytest.fixture
def leaking(phantoms, tmp_path):
    folder = tmp_path / "leaking"
    shutil.copytree(phantoms, folder)
    image = sorted((folder / "train" / "fractured").iterdir())[0]
    shutil.copy(image, folder / "test" / "fractured" / "copy.png")
    return folder


def test_a_leaking_split_is_refused(leaking, tmp_path):
    with pytest.raises(GateError, match="--accept-leak"):
        train_and_evaluate(config(), leaking, tmp_path / "run")


def test_a_refused_run_is_not_in_the_way_of_the_next(leaking, tmp_path):
    with pytest.raises(GateError):
        train_and_evaluate(config(), leaking, tmp_path / "runs" / "run")
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_accepted_leak_marks_every_figure(leaking, tmp_path):
    evaluation = train_and_evaluate(config(epochs=1, accept_leak=True), leaking, tmp_path / "run")
    assert evaluation.leaked
    report = (tmp_path / "run" / "report.html").read_text()
    assert report.count(">leaked<") == 4 * len(evaluation.rows())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["leaked"] is True


def test_a_split_by_radiograph_shares_no_group(phantoms, tmp_path):
    folder = tmp_path / "pooled"
    for split in ("train", "val", "test"):
        shutil.copytree(phantoms / split, folder, dirs_exist_ok=True)
    train_and_evaluate(config(split="grouped", epochs=1), folder, tmp_path / "run")
    with (tmp_path / "run" / "split.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    groups = {split: {row["group"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert all(groups.values())
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]


def test_a_split_without_one_class_is_a_data_error(phantoms, tmp_path):
    folder = tmp_path / "one-sided"
    shutil.copytree(phantoms, folder)
    shutil.rmtree(folder / "val" / "fractured")
    with pytest.raises(DataError, match="val"):
        train_and_evaluate(config(), folder, tmp_path / "run")
