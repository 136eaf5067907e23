"""Epochs that can be killed and continued: after each one, weights, optimiser and history are on disk."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from train.checkpoint import restore_variables, store_variables
from train.fit.plans import Plan, RunningMean
from train.metrics import auc
from train.progress import Bar, progress_bar
from train.run_folder import write_json

_logger = logging.getLogger(__name__)

_LAST, _CHOSEN, _HISTORY = "last.npz", "chosen.npz", "history.json"
_LOG_FLOOR = 1e-7  # of a probability inside a logarithm


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one optimiser."""

    name: str  # of the phase, and of the folder that keeps its state
    model: keras.Model  # what is trained: inputs as in `batches`, one probability out unless `loss` says otherwise
    epochs: int  # passes
    plan: Plan  # the optimiser, its rate, and which weights are kept
    examples: int  # training examples in one epoch
    batch_size: int  # examples in a batch
    batches: Callable[[int], tf.data.Dataset]  # (features, label, weight) batches of an epoch
    predict: Callable[[], NDArray[np.float32]]  # probabilities (v,) of the validation examples
    validation_labels: NDArray[np.int64]  # (v,)
    loss: Any = "binary_crossentropy"  # as Keras takes it; of several outputs by name
    metrics: Any = field(default_factory=lambda: ["accuracy"])  # as Keras takes them; by name of several outputs


@dataclass(frozen=True)
class EpochRecord:
    """One line of history."""

    phase: str  # as Phase.name
    epoch: int  # from 1, within the phase
    loss: float  # weighted binary cross-entropy on the augmented training images, dropout on
    accuracy: float  # at 0.5, on the same
    val_loss: float | None  # binary cross-entropy on the validation images; None, as the next two, where there are none
    val_accuracy: float | None  # at 0.5
    val_auc: float | None  # area under the ROC curve
    images_per_second: float  # of training


def fit(phase: Phase, folder: Path) -> list[EpochRecord]:
    """The history of a phase, whose model ends with the weights of its best epoch by validation AUC, or of its last.

    Args:
        phase: what to train.
        folder: keeps the state after each epoch; where it has one, training goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = phase.plan.optimizer()
    phase.model.compile(optimizer=optimizer, loss=phase.loss, metrics=phase.metrics)
    optimizer.build(phase.model.trainable_variables)
    mean = RunningMean(phase.model.trainable_variables, phase.plan.averaged_steps)
    state = [*phase.model.variables, *optimizer.variables, *mean.variables]
    history = _read_history(folder)
    if history:
        restore_variables(folder / _LAST, state)
    for epoch in range(len(history), phase.epochs):
        if phase.plan.rate is not None:
            optimizer.learning_rate = phase.plan.rate(epoch)
        record = _run_epoch(phase, epoch, mean)
        is_chosen = phase.plan.keeps_last or _is_best(record, history)
        history.append(record)
        if is_chosen:
            with mean.in_place():
                store_variables(folder / _CHOSEN, phase.model.variables)
        store_variables(folder / _LAST, state)
        # Written last: an epoch counts once everything else of it is on disk.
        write_json(folder / _HISTORY, [asdict(record) for record in history])
        _tell(record, phase.epochs, is_chosen and not phase.plan.keeps_last)
    restore_variables(folder / _CHOSEN, phase.model.variables)
    return history


def _run_epoch(phase: Phase, epoch: int, mean: RunningMean) -> EpochRecord:
    with progress_bar(f"{phase.name} {epoch + 1}/{phase.epochs}") as bar:
        start = time.perf_counter()
        report = keras.callbacks.LambdaCallback(on_train_batch_end=_count_images(phase, bar))
        callbacks = [mean, report]
        logs = phase.model.fit(phase.batches(epoch), epochs=1, shuffle=False, verbose=0, callbacks=callbacks).history
        seconds = time.perf_counter() - start
    with mean.in_place():
        validated = _validate(phase)
    return EpochRecord(
        phase=phase.name,
        epoch=epoch + 1,
        loss=round(float(logs["loss"][0]), 6),
        accuracy=round(float(next(values[0] for name, values in logs.items() if name.endswith("accuracy"))), 6),
        images_per_second=round(phase.examples / seconds, 1),
        **validated,
    )


def _validate(phase: Phase) -> dict[str, float | None]:
    labels = phase.validation_labels
    if labels.size == 0:
        return {"val_loss": None, "val_accuracy": None, "val_auc": None}
    probabilities = phase.predict()
    return {
        "val_loss": round(_cross_entropy(labels, probabilities), 6),
        "val_accuracy": round(float(np.mean((probabilities >= 0.5) == (labels == 1))), 6),
        "val_auc": round(auc(labels, probabilities) or 0.0, 6),
    }


def _is_best(record: EpochRecord, history: list[EpochRecord]) -> bool:
    if record.val_auc is None:
        raise DataError("--refit: this network keeps its best epoch by validation images, and a refit has none")
    return all(record.val_auc > (earlier.val_auc or 0.0) for earlier in history)


def _count_images(phase: Phase, bar: Bar) -> Callable[[int, object], None]:
    return lambda batch, logs: bar.update(min(phase.examples, (batch + 1) * phase.batch_size), phase.examples)


def _cross_entropy(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    of_true_class = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return float(-np.mean(np.log(np.maximum(of_true_class, _LOG_FLOOR))))


def _tell(record: EpochRecord, epochs: int, is_best: bool) -> None:
    validation = (
        ""
        if record.val_auc is None
        else f"; validation: loss {record.val_loss:.3f}, accuracy {record.val_accuracy:.3f}, AUC {record.val_auc:.3f}"
    )
    _logger.info(
        f"{record.phase} {record.epoch}/{epochs}: loss {record.loss:.3f}, accuracy {record.accuracy:.3f}{validation}"
        f"{' (best)' if is_best else ''}; {record.images_per_second:.0f} images/s"
    )


def _read_history(folder: Path) -> list[EpochRecord]:
    path = folder / _HISTORY
    return [EpochRecord(**record) for record in json.loads(path.read_text())] if path.is_file() else []
