"""One run from a folder of X-rays to a run folder: audit, split, train, evaluate, report."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError
from edge_runtime.spec import ModelSpec
from train import phantom
from train.audit.progress import show_progress
from train.config import TrainConfig
from train.data.split_data import NAMES, SplitData, is_phantoms, load_split_data
from train.fit.backend import prepare_backend
from train.metrics import Figures, measure, per_group
from train.plots import LEAKED_MARK, save_confusion, save_counts, save_history, save_roc, save_samples
from train.report import Row, facts_table, figures_table, page, picture
from train.run_folder import (
    UnfinishedRun,
    open_unfinished_run,
    write_calibration,
    write_json,
    write_run_json,
    write_split,
)

if TYPE_CHECKING:
    import keras

    from train.fit.epochs import EpochRecord
    from train.fit.task import Task

_logger = logging.getLogger(__name__)

DEMO_COUNTS = {"train": 1600, "val": 300, "test": 600}
_SAMPLES_PER_CLASS = 6


@dataclass(frozen=True)
class Evaluation:
    """Figures of a trained network."""

    leaked: bool  # whether any radiograph stands in two splits
    temperature: float  # by which the logits were divided after training
    val: Figures  # files of the validation split
    test_files: Figures  # files of the test split; interval by radiograph
    test_radiographs: Figures  # the mean probability of each radiograph's files

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)

    def rows(self) -> list[Row]:
        """For a table."""
        return [
            Row("validation, per file", self.val, self.leaked),
            Row("test, per file", self.test_files, self.leaked),
            Row("test, per radiograph", self.test_radiographs, self.leaked),
        ]


def train_and_evaluate(config: TrainConfig, data_root: Path | None, target: Path, resume: bool = False) -> Evaluation:
    """Trains a network and writes the run folder.

    Args:
        config: all settings.
        data_root: folder of X-rays; None with `config.demo`.
        target: the run folder; it appears whole or not at all.
        resume: go on with the unfinished run of that name.

    Raises:
        DataError: nothing can be made from the data, or the target exists.
        GateError: the split leaks and the leak was not accepted.
    """
    data_root = data_root.absolute() if data_root else None
    run = open_unfinished_run(target, config, data_root, resume)
    try:
        return _make_run(run, config, data_root)
    except EdgeError:
        # Refused data leave no unfinished run in the way of the next try.
        run.discard_unless_begun()
        raise


def _make_run(run: UnfinishedRun, config: TrainConfig, data_root: Path | None) -> Evaluation:
    root = _demo_data(run, config.seed) if data_root is None else data_root
    domain = "phantom" if is_phantoms(root) else "radiograph"
    with show_progress() as progress:
        data = load_split_data(root, config, lambda labels: make_spec(config, labels, domain), progress)
    spec = make_spec(config, data.inventory.labels, domain)
    _tell_data(data)
    prepare_backend(config.seed)
    from train.fit.task import Task
    from train.fit.training import train_network

    task = Task(config, data, run.state)
    model, history = train_network(task)
    temperature = _calibrate(model, task)
    evaluation, probabilities = evaluate(model, task, temperature)
    _write_network(run.folder, model, spec, history)
    write_run_json(run.folder, config, run.target / "data" if data_root is None else root, data.leaks)
    write_split(run.folder, data)
    write_calibration(run.folder, data, spec, config.calibration_images, config.seed)
    write_json(run.folder / "metrics.json", evaluation.to_dict())
    _write_report(run.folder, config, data, evaluation, probabilities, [asdict(record) for record in history])
    run.publish()
    return evaluation


def make_spec(config: TrainConfig, labels: tuple[str, str], domain: str) -> ModelSpec:
    """The spec of a network trained with these settings on images of that domain."""
    return ModelSpec(
        name=config.model,
        size=config.image_size,
        aspect=config.aspect,
        resampling="bilinear",
        labels=labels,
        threshold=config.threshold,
        domain=domain,
    )


def evaluate(model: keras.Model, task: Task, temperature: float) -> tuple[Evaluation, NDArray[np.float64]]:
    """The figures, and the probability of every file: (n,), NaN in train."""
    data, threshold = task.data, task.config.threshold
    of_record = np.full(data.labels.size, np.nan)
    for split in ("val", "test"):
        records = data.records_in(split)
        of_record[records] = _probabilities(model, task, records)
    val, test = data.records_in("val"), data.records_in("test")
    radiographs = per_group(data.labels[test], of_record[test], data.groups[test])
    evaluation = Evaluation(
        leaked=data.leaks,
        temperature=temperature,
        val=measure(data.labels[val], of_record[val], threshold, data.groups[val]),
        test_files=measure(data.labels[test], of_record[test], threshold, data.groups[test]),
        test_radiographs=measure(*radiographs, threshold),
    )
    return evaluation, of_record


def _calibrate(model: keras.Model, task: Task) -> float:
    """The temperature by which the network's logits were divided, in place."""
    from train.fit.temperature import choose_temperature, divide_logits

    data, val = task.data, task.data.records_in("val")
    temperature = choose_temperature(_probabilities(model, task, val), data.labels[val], data.groups[val])
    divide_logits(model, temperature)
    _logger.info(
        f"temperature {temperature:.2f}: logits divided by it, so that validation probabilities are not too sure"
    )
    return temperature


def _probabilities(model: keras.Model, task: Task, records: NDArray[np.int64]) -> NDArray[np.float32]:
    """(k,) of k files; each different picture is judged once."""
    rows, inverse = np.unique(task.data.row_of_record[records], return_inverse=True)
    return task.predict(model, rows)[inverse]


def _demo_data(run: UnfinishedRun, seed: int) -> Path:
    folder = run.folder / "data"
    if not folder.exists():
        _logger.info(f"drawing {sum(DEMO_COUNTS.values())} phantoms")
        phantom.write_dataset(folder, DEMO_COUNTS, seed)
    return folder


def _tell_data(data: SplitData) -> None:
    for item in data.inventory.unreadable:
        _logger.warning(f"left out: {item.path}: {item.why}")
    for split in NAMES:
        records = data.records_in(split)
        _logger.info(
            f"{split}: {records.size} files ({int(data.labels[records].sum())} {data.inventory.labels[1]}), "
            f"{np.unique(data.row_of_record[records]).size} different pictures, "
            f"{np.unique(data.groups[records]).size} radiographs"
        )
    if data.leaks:
        _logger.warning(
            f"leaked: {data.leak.leaking_groups} radiographs stand in two splits; every figure below is too good"
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


def _write_report(
    folder: Path,
    config: TrainConfig,
    data: SplitData,
    evaluation: Evaluation,
    probabilities: NDArray[np.float64],
    history: list[dict[str, Any]],
) -> None:
    plots = folder / "plots"
    plots.mkdir()
    mark = LEAKED_MARK if data.leaks else ""
    test = data.records_in("test")
    labels = data.inventory.labels
    save_samples(plots / "samples.png", *_samples(data, config.seed))
    save_counts(plots / "counts.png", _counts(data), labels)
    save_history(plots / "history.png", history)
    save_confusion(plots / "confusion.png", evaluation.test_files.confusion, labels, mark)
    save_roc(plots / "roc.png", data.labels[test], probabilities[test], evaluation.test_files.auc, mark)
    captions = {
        "samples": "Training images as the network sees them, before augmentation",
        "counts": "Files of each split and class",
        "history": "Accuracy, loss and validation AUC per epoch",
        "confusion": "Confusion matrix of the test split, per file",
        "roc": "ROC curve of the test split, per file",
    }
    parts = [
        f'<p class="leaked">{LEAKED_MARK}. Every figure on this page is too good.</p>' if data.leaks else "",
        figures_table(evaluation.rows()),
        *(picture(plots / f"{name}.png", caption) for name, caption in captions.items()),
        "<h2>Settings</h2>",
        facts_table({name: json.dumps(value) for name, value in config.to_dict().items()}),
        "<h2>Files left out</h2>",
        facts_table({item.path: item.why for item in data.inventory.unreadable}),
        "<p>Research use only: not a medical device.</p>",
    ]
    (folder / "report.html").write_text(page(f"{config.model}: training run", parts), encoding="utf-8")


def _counts(data: SplitData) -> dict[str, tuple[int, int]]:
    return {
        split: tuple(int(np.sum(data.labels[data.records_in(split)] == label)) for label in (0, 1)) for split in NAMES
    }


def _samples(data: SplitData, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    rows, labels = data.pictures_in("train")
    rng = np.random.default_rng([seed, 2])
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:_SAMPLES_PER_CLASS] for label in (0, 1)]
    titles = [data.inventory.labels[label] for label, members in enumerate(chosen) for _ in members]
    return data.images_u8[rows[np.concatenate(chosen)]], titles
