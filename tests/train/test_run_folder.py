"""A run in the making: one process at a time, what may be resumed, and what earlier versions left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.errors import DataError
from train import run_folder
from train.config import TrainConfig
from train.run_folder import is_finished, open_unfinished_run, write_json

CONFIG = TrainConfig("cnn")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run"


def begin(target: Path, resume: bool = False, config: TrainConfig = CONFIG):
    return open_unfinished_run(target, config, None, resume)


@pytest.mark.parametrize("resume", [True, False])
def test_a_living_run_is_neither_resumed_nor_begun_again(target, resume):
    run = begin(target)
    with pytest.raises(DataError, match="another edge-train is at work"):
        begin(target, resume)
    run.release()
    begin(target, resume=True).release()


def test_an_interrupted_run_is_resumed_or_told(target):
    begin(target).release()
    with pytest.raises(DataError, match="continue it with --resume"):
        begin(target)
    with pytest.raises(DataError, match="other settings"):
        begin(target, resume=True, config=TrainConfig("cnn", seed=1))
    begin(target, resume=True).release()


def test_a_run_that_another_version_began_is_not_gone_on_with(target, monkeypatch):
    begin(target).release()
    monkeypatch.setattr(run_folder, "TRAINING_VERSION", run_folder.TRAINING_VERSION + 1)
    with pytest.raises(DataError, match="trains otherwise; remove it and start again"):
        begin(target, resume=True)


def test_what_was_written_at_the_end_is_written_anew_and_drawn_images_stay(target):
    run = begin(target)
    (run.folder / "calibration").mkdir()
    (run.folder / "data").mkdir()
    run.release()
    run = begin(target, resume=True)
    assert os.listdir(run.folder) == ["data"]
    run.release()


def test_a_published_run_stands_alone_and_is_known_as_finished(target):
    run = begin(target)
    run.state.mkdir()
    write_json(run.folder / "run.json", {"config": CONFIG.to_dict(), "data_root": str(target / "data")})
    run.publish()
    run.release()
    assert os.listdir(target.parent) == ["run"] and os.listdir(target) == ["run.json"]
    assert is_finished(target, CONFIG, None) and not is_finished(target, TrainConfig("cnn", seed=1), None)


def test_what_a_kill_just_after_publishing_leaves_is_cleared(target):
    begin(target).release()
    (target.parent / ".run.unfinished" / "run").rename(target)
    with pytest.raises(DataError, match="exists already"):
        begin(target)
    assert os.listdir(target.parent) == ["run"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("started.json", "model.keras"), "of an earlier version; remove it and start again"),
        (("run.json", "report.html", "model.keras"), "a finished run, killed at its last step: mv "),
        (("thesis.txt",), "is not an unfinished run"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_what_is_no_unfinished_run_of_this_version_stays_and_is_told(target, files, message, resume):
    around = target.parent / ".run.unfinished"
    around.mkdir()
    for name in files:
        (around / name).touch()
    with pytest.raises(DataError, match=message):
        begin(target, resume)
    assert set(os.listdir(around)) == set(files)
