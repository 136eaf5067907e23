"""What a refit takes over of the run that it repeats."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge_runtime.errors import DataError
from edge_runtime.spec import ModelSpec, OperatingPoint
from train.config import TRAINING_VERSION, TrainConfig
from train.refit import NOTE, copy_figures, read_finished_run, settings_of

POINT = OperatingPoint("balanced", 0.2, (0.8, 0.7, 0.9), (0.8, 0.7, 0.9))
SPEC = ModelSpec("mobilenetv2", 96, "pad", "bilinear", ("a", "b"), 0.2, "radiograph", operating_points=(POINT,))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "plots").mkdir(parents=True)
    record = {"config": TrainConfig("mobilenetv2", epochs=3).to_dict(), "training_version": TRAINING_VERSION}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.json").write_text(json.dumps({"prior_shift": -1.5, "temperature": 1.25}))
    (folder / "spec.json").write_text(SPEC.to_json())
    for name in ("predictions.csv", "report.html", "plots/roc.png"):
        (folder / name).write_text(name)
    return folder


def test_calibration_threshold_and_settings_are_those_of_the_run(run):
    found = read_finished_run(run)
    assert (found.prior_shift, found.temperature, found.spec) == (-1.5, 1.25, SPEC)
    settings = settings_of(found)
    assert settings.epochs == 3 and settings.refit == str(run)


def test_a_run_from_before_the_shift_has_none(run):
    (run / "metrics.json").write_text(json.dumps({"temperature": 1.0}))
    assert read_finished_run(run).prior_shift == 0.0


def test_figures_come_along_with_a_note_whose_they_are(run, tmp_path):
    target = tmp_path / "all"
    target.mkdir()
    copy_figures(read_finished_run(run), target)
    assert (target / "plots" / "roc.png").read_text() == "plots/roc.png"
    assert str(run) in (target / NOTE).read_text()


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "spec.json"])
def test_what_is_no_finished_run_is_named(run, name):
    (run / name).write_text(json.dumps({"labels": np.arange(2).tolist()}))
    with pytest.raises(DataError, match="not a finished run"):
        read_finished_run(run)


@pytest.mark.parametrize("version", [{}, {"training_version": TRAINING_VERSION - 1}])
def test_a_run_of_a_version_that_trains_otherwise_is_not_fitted_again(run, version):
    record = json.loads((run / "run.json").read_text())
    del record["training_version"]
    (run / "run.json").write_text(json.dumps(record | version))
    with pytest.raises(DataError, match="would be those of another network; train it again first"):
        read_finished_run(run)


def test_a_run_with_a_coverage_is_not_fitted_again(run):
    record = json.loads((run / "run.json").read_text())
    record["config"] |= {"coverage": 0.95, "split": "grouped"}
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="has --coverage, whose radiographs would train too"):
        read_finished_run(run)
