"""A finished run's settings, fitted again on every image: for the network that ships, once its figures stand.

More images make a better network, and none are left to tell how good. So everything that images chose stays that of the
run: temperature, threshold, and the figures, which are those of a network that saw fewer images.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_runtime.errors import DataError, ModelError
from edge_runtime.spec import ModelSpec
from train.config import TRAINING_VERSION, TrainConfig
from train.data.split_data import SplitData

COPIED = ("metrics.json", "predictions.csv", "plots", "report.html")  # of the run: what tells its figures
NOTE = "refit.txt"


@dataclass(frozen=True)
class FinishedRun:
    """What a run decided."""

    folder: Path
    config: TrainConfig
    prior_shift: float  # added to its logits; of runs before there was one, 0
    temperature: float  # by which they were divided then
    spec: ModelSpec  # with the threshold and the operating points that it chose


def read_finished_run(folder: Path) -> FinishedRun:
    """The run in a folder.

    Raises:
        DataError: it is none.
    """
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        config = TrainConfig.from_dict(record["config"])
        spec = ModelSpec.from_json((folder / "spec.json").read_bytes())
        if config.coverage is not None:
            raise DataError(
                f"--refit {folder}: has --coverage, whose radiographs would train too: its limits would lie"
            )
        if record.get("training_version") != TRAINING_VERSION:
            raise DataError(
                f"--refit {folder}: of a version of edge-train that trains otherwise: its figures would be those of "
                "another network; train it again first"
            )
        shift = float(metrics.get("prior_shift", 0.0))
        return FinishedRun(folder, config, shift, float(metrics["temperature"]), spec)
    except (OSError, ValueError, KeyError, TypeError, ModelError) as error:
        raise DataError(f"--refit {folder}: not a finished run of this version of edge-train: {error!r}") from error


def settings_of(run: FinishedRun) -> TrainConfig:
    """Its settings, for every image."""
    return replace(run.config, refit=str(run.folder.absolute()))


def everything_trains(data: SplitData) -> SplitData:
    """The data with every image in the train split."""
    return replace(data, splits=np.full(data.splits.shape, "train"))


def copy_figures(run: FinishedRun, target: Path) -> None:
    """Copies what tells the run's figures, and a note whose they are."""
    for name in COPIED:
        source = run.folder / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copyfile(source, target / name)
    text = (
        f"The network here was fitted on every image with the settings of {run.folder.absolute()}.\n"
        f"{', '.join(COPIED)} are of that run, whose network did not see its validation and test images.\n"
    )
    (target / NOTE).write_text(text, encoding="utf-8")
