"""One run from a folder of X-rays to a run folder: audit, split, train, evaluate, report."""

from __future__ import annotations

import csv
import logging
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import EdgeError
from edge_runtime.spec import ModelSpec
from train import phantom
from train.audit import patients
from train.audit.layout import refuse_inside
from train.audit.progress import show_progress
from train.audit.wording import counted
from train.config import TrainConfig
from train.data.split_data import SplitData, is_phantoms, load_split_data
from train.evaluation import Evaluation, calibrate, evaluate
from train.fit.backend import prepare_backend
from train.operating_point import points_in_spec
from train.predictions import write_predictions
from train.refit import copy_figures, everything_trains, read_finished_run
from train.run_folder import (
    DATA,
    UnfinishedRun,
    open_unfinished_run,
    write_calibration,
    write_json,
    write_run_json,
    write_split,
)
from train.run_report import write_report

if TYPE_CHECKING:
    import keras

    from train.fit.epochs import EpochRecord
    from train.fit.task import Task

_logger = logging.getLogger(__name__)

UNCHOSEN = 0.5  # threshold before validation radiographs have chosen one
DEMO_COUNTS = {"train": 1600, "val": 300, "test": 600}


def train_and_evaluate(
    config: TrainConfig, data_root: Path | None, target: Path, resume: bool = False, devices: int | None = 1
) -> Evaluation | None:
    """Trains a network and writes the run folder; the figures, none of a refit, which tells those of its run.

    Args:
        config: all settings.
        data_root: folder of X-rays; None with `config.demo`.
        target: the run folder; it appears whole or not at all.
        resume: go on with the unfinished run of that name.
        devices: that train, see `train.fit.devices`; None: all. Of the machine and no setting: another may go on.

    Raises:
        DataError: nothing can be made from the data, the target exists, or there are fewer devices.
        GateError: the split leaks and the leak was not accepted.
    """
    data_root = data_root.absolute() if data_root else None
    if data_root is not None:
        refuse_inside(target, data_root, "--out")
    if devices is not None and devices > 1:
        _refuse_missing(devices)
    run = open_unfinished_run(target, config, data_root, resume)
    try:
        return _make_run(run, config, data_root, devices)
    except EdgeError:
        # Refused data leave no unfinished run in the way of the next try.
        run.discard_unless_begun()
        raise
    finally:
        run.release()


def _refuse_missing(devices: int) -> None:
    """Refuses more devices than there are before images are read, which takes minutes."""
    prepare_backend(0)
    from train.fit.devices import open_devices

    open_devices(devices)


def _make_run(
    run: UnfinishedRun, config: TrainConfig, data_root: Path | None, devices: int | None
) -> Evaluation | None:
    root = _demo_data(run, config.seed) if data_root is None else data_root
    domain = "phantom" if is_phantoms(root) else "radiograph"
    with show_progress() as progress:
        data = load_split_data(root, config, lambda labels: make_spec(config, labels, domain), progress)
    spec = make_spec(config, data.inventory.labels, domain)
    _tell_data(data, domain)
    prepare_backend(config.seed)
    from train.fit.devices import open_devices
    from train.fit.task import Task
    from train.fit.training import train_network

    task = Task(config, data, run.state, open_devices(devices))
    if config.refit is not None:
        _refit(run, replace(task, data=everything_trains(data)), data, spec)
        return None
    model, history = train_network(task)
    evaluation, probabilities = evaluate(model, task, calibrate(model, task))
    points = points_in_spec(evaluation.operating_points)
    spec = replace(
        spec,
        threshold=evaluation.operating_point.threshold,
        operating_points=points,
        coverage=None if evaluation.coverage is None else evaluation.coverage.limits,
    )
    _write_network(run.folder, model, spec, history)
    write_run_json(run.folder, config, run.target / DATA if data_root is None else root, data.leaks)
    write_split(run.folder, data)
    write_calibration(run.folder, data, config.calibration_images, config.seed)
    write_json(run.folder / "metrics.json", evaluation.to_dict())
    write_predictions(run.folder, data, probabilities, evaluation.operating_point.threshold)
    write_report(run.folder, config, data, evaluation, probabilities, [asdict(record) for record in history])
    run.publish()
    return evaluation


def _refit(run: UnfinishedRun, task: Task, data: SplitData, spec: ModelSpec) -> None:
    """Makes the run folder of a network fitted on every image; the figures are of the run that it repeats."""
    from train.fit.temperature import divide_logits, shift_logits
    from train.fit.training import train_network

    config = task.config
    earlier = read_finished_run(Path(config.refit or ""))
    model, history = train_network(task)
    shift_logits(model, earlier.prior_shift)
    divide_logits(model, earlier.temperature)
    spec = replace(spec, threshold=earlier.spec.threshold, operating_points=earlier.spec.operating_points)
    _write_network(run.folder, model, spec, history)
    # Its test images were trained on: whoever judges it by them is told so.
    write_run_json(run.folder, config, data.inventory.root, leaked=True)
    write_split(run.folder, data)
    write_calibration(run.folder, data, config.calibration_images, config.seed)
    copy_figures(earlier, run.folder)
    run.publish()


def make_spec(config: TrainConfig, labels: tuple[str, str], domain: str) -> ModelSpec:
    """The spec of a network trained with these settings on images of that domain."""
    return ModelSpec(
        name=config.model,
        size=config.image_size,
        aspect=config.aspect,
        resampling="bilinear",
        labels=labels,
        threshold=UNCHOSEN,
        domain=domain,
    )


def _demo_data(run: UnfinishedRun, seed: int) -> Path:
    folder = run.folder / DATA
    if not folder.exists():
        _logger.info(f"drawing {sum(DEMO_COUNTS.values())} phantoms")
        phantom.write_dataset(folder, DEMO_COUNTS, seed)
    return folder


def _tell_data(data: SplitData, domain: str) -> None:
    for item in data.inventory.unreadable:
        _logger.warning(f"left out: {item.path}: {item.why}")
    for split in data.names:
        records = data.records_in(split)
        _logger.info(
            f"{split}: {counted(records.size, 'file')} ({int(data.labels[records].sum())} {data.inventory.labels[1]}), "
            f"{counted(np.unique(data.row_of_record[records]).size, 'different picture')}, "
            f"{counted(np.unique(data.groups[records]).size, 'radiograph')}"
        )
    if (unknown := patients.unknown(data.inventory)) and domain == "radiograph":
        _logger.warning(unknown)
    if data.leaks:
        _logger.warning(
            f"leaked: {counted(data.leak.leaking_groups, 'radiograph is', 'radiographs are')} shared between splits; "
            "every figure below is too optimistic"
        )


def _write_network(folder: Path, model: keras.Model, spec: ModelSpec, history: list[EpochRecord]) -> None:
    import keras

    # A clone leaves behind the optimiser and what was frozen for training.
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    plain.save(folder / "model.keras")
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(history[0])])
        writer.writeheader()
        writer.writerows(asdict(record) for record in history)
