"""Epochs that can be killed and continued: after each one, weights, optimiser and history are on disk."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.checkpoint import restore_variables, store_variables
from train.metrics import auc
from train.progress import Bar, progress_bar
from train.run_folder import write_json

_logger = logging.getLogger(__name__)

_LAST, _BEST, _HISTORY = "last.npz", "best.npz", "history.json"
_LOG_FLOOR = 1e-7  # of a probability inside a logarithm


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one optimiser."""

    name: str  # of the phase, and of the folder that keeps its state
    model: keras.Model  # what is trained: inputs as in `batches`, one probability out
    epochs: int  # passes
    learning_rate: float  # of Adam in the first epoch; falls with the root of what is left of the phase
    examples: int  # training examples in one epoch
    batch_size: int  # examples in a batch
    batches: Callable[[int], tf.data.Dataset]  # (features, label, weight) batches of an epoch
    predict: Callable[[], NDArray[np.float32]]  # probabilities (v,) of the validation examples
    validation_labels: NDArray[np.int64]  # (v,)


@dataclass(frozen=True)
class EpochRecord:
    """One line of history."""

    phase: str  # as Phase.name
    epoch: int  # from 1, within the phase
    loss: float  # weighted binary cross-entropy on the augmented training images, dropout on
    accuracy: float  # at 0.5, on the same
    val_loss: float  # binary cross-entropy on the validation images
    val_accuracy: float  # at 0.5
    val_auc: float  # area under the ROC curve
    images_per_second: float  # of training


def fit(phase: Phase, folder: Path) -> list[EpochRecord]:
    """The history of a phase, whose model ends with the weights of its best epoch by validation AUC.

    Args:
        phase: what to train.
        folder: keeps the state after each epoch; where it has one, training goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = keras.optimizers.Adam(phase.learning_rate)
    phase.model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    optimizer.build(phase.model.trainable_variables)
    history = _read_history(folder)
    if history:
        restore_variables(folder / _LAST, [*phase.model.variables, *optimizer.variables])
    for epoch in range(len(history), phase.epochs):
        # High for long, then quickly down: small networks from random values leave chance only at a high rate.
        optimizer.learning_rate = phase.learning_rate * math.sqrt(1.0 - epoch / phase.epochs)
        record = _run_epoch(phase, epoch)
        is_best = all(record.val_auc > earlier.val_auc for earlier in history)
        history.append(record)
        if is_best:
            store_variables(folder / _BEST, phase.model.variables)
        store_variables(folder / _LAST, [*phase.model.variables, *optimizer.variables])
        # Written last: an epoch counts once everything else of it is on disk.
        write_json(folder / _HISTORY, [asdict(record) for record in history])
        _tell(record, phase.epochs, is_best)
    restore_variables(folder / _BEST, phase.model.variables)
    return history


def _run_epoch(phase: Phase, epoch: int) -> EpochRecord:
    with progress_bar(f"{phase.name} {epoch + 1}/{phase.epochs}") as bar:
        start = time.perf_counter()
        report = keras.callbacks.LambdaCallback(on_train_batch_end=_count_images(phase, bar))
        logs = phase.model.fit(phase.batches(epoch), epochs=1, shuffle=False, verbose=0, callbacks=[report]).history
        seconds = time.perf_counter() - start
    probabilities, labels = phase.predict(), phase.validation_labels
    return EpochRecord(
        phase=phase.name,
        epoch=epoch + 1,
        loss=round(float(logs["loss"][0]), 6),
        accuracy=round(float(logs["accuracy"][0]), 6),
        val_loss=round(_cross_entropy(labels, probabilities), 6),
        val_accuracy=round(float(np.mean((probabilities >= 0.5) == (labels == 1))), 6),
        val_auc=round(auc(labels, probabilities) or 0.0, 6),
        images_per_second=round(phase.examples / seconds, 1),
    )


def _count_images(phase: Phase, bar: Bar) -> Callable[[int, object], None]:
    return lambda batch, logs: bar.update(min(phase.examples, (batch + 1) * phase.batch_size), phase.examples)


def _cross_entropy(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    of_true_class = np.where(labels == 1, probabilities, 1.0 - probabilities)
    return float(-np.mean(np.log(np.maximum(of_true_class, _LOG_FLOOR))))


def _tell(record: EpochRecord, epochs: int, is_best: bool) -> None:
    _logger.info(
        f"{record.phase} {record.epoch}/{epochs}: loss {record.loss:.3f}, accuracy {record.accuracy:.3f}; "
        f"validation: loss {record.val_loss:.3f}, accuracy {record.val_accuracy:.3f}, AUC {record.val_auc:.3f}"
        f"{' (best)' if is_best else ''}; {record.images_per_second:.0f} images/s"
    )


def _read_history(folder: Path) -> list[EpochRecord]:
    path = folder / _HISTORY
    return [EpochRecord(**record) for record in json.loads(path.read_text())] if path.is_file() else []
