"""Transfer learning: the head on the frozen backbone, then the upper blocks, both on cached features.

Batch normalisation stays in inference mode: its statistics are those of ImageNet, and batches of cached features of one
draw would not estimate better ones (Keras guide "Transfer learning & fine-tuning").
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from train.data.batches import Examples, epoch_order, stored_features, with_targets
from train.fit.consistency import PairedNetwork, measure_bounds, pair_from, rounded_like_int8
from train.fit.epochs import EpochRecord, Phase, fit
from train.fit.frozen_features import Features, FrozenPart, create_features, open_features
from train.fit.task import Task
from train.fit.whole import fit_from_random_values
from train.int8.equalisation import equalise
from train.int8.fake_quant import put_on_grid
from train.models import find_network
from train.networks import POOL
from train.progress import progress_bar

_ROUNDED = "rounded_"  # before the name of a seam: its features as int8 would have them


@dataclass(frozen=True)
class _Stage:
    """One of the two phases."""

    name: str  # of the phase
    seam: str  # layer whose cached output is learnt from; those above it train
    rate: float  # of Adam at the start


def fit_pretrained_or_random(model: keras.Model, task: Task) -> list[EpochRecord]:
    """By transfer learning, or from random values where there are no weights to start from."""
    fitting = fit_from_random_values if task.config.weights == "none" else fit_transfer
    return fitting(model, task)


def fit_transfer(model: keras.Model, task: Task) -> list[EpochRecord]:
    """The history of both phases of a pretrained network; its entry in the table names the cut of the second."""
    cut = _cut(task.config.model)
    calibration = task.calibration_images()
    equalise(model, calibration)
    put_on_grid(model)
    features = _cached_features(model, [cut, POOL], task, calibration)
    head = _Stage("head", POOL, task.config.learning_rate)
    history: list[EpochRecord] = []
    for stage in (head, _Stage("fine-tuning", cut, task.config.fine_tune_rate)):
        _freeze_below(model, stage.seam)
        history += fit(_phase(stage, pair_from(model, stage.seam), features, task), task.folder / stage.name)
        put_on_grid(model)
    return history


def _cut(model: str) -> str:
    """The layer above which a pretrained network is fine-tuned."""
    cut = find_network(model).cut
    if cut is None:
        raise DataError(f"--model {model}: its entry in train/models.py names no cut, so it cannot be fine-tuned")
    return cut


def _freeze_below(model: keras.Model, seam: str) -> None:
    """Lets the layers above a seam train, but for normalisation."""
    names = [layer.name for layer in model.layers]
    above = set(names[names.index(seam) + 1 :])
    for layer in model.layers:
        layer.trainable = layer.name in above and not isinstance(layer, keras.layers.BatchNormalization)


def _phase(stage: _Stage, pair: PairedNetwork, features: Features, task: Task) -> Phase:
    """A phase on rows of feature arrays: `draws` blocks of the training pictures, then the validation pictures."""
    config, examples = task.config, task.examples()
    exact, rounded = features[stage.seam], features[f"{_ROUNDED}{stage.seam}"]
    count = examples.rows.size
    val_rows = np.arange(config.draws * count, exact.shape[0])

    def batches(epoch: int) -> tf.data.Dataset:
        first_row = (epoch % config.draws) * count
        of_draw = Examples(first_row + np.arange(count), examples.labels, examples.weights)
        order = epoch_order(of_draw, config.seed, epoch)
        both = (stored_features(array, order.rows, config.batch_size) for array in (exact, rounded))
        return with_targets(tf.data.Dataset.zip(*both), order, config.batch_size)

    def predict_validation() -> NDArray[np.float32]:
        return pair.exact.predict(stored_features(exact, val_rows, config.batch_size), verbose=0)[:, 0]

    return Phase(
        name=stage.name,
        model=pair.training,
        epochs=config.epochs,
        learning_rate=stage.rate,
        examples=count,
        batch_size=config.batch_size,
        batches=batches,
        predict=predict_validation,
        validation_labels=task.data.pictures_in("val")[1],
    )


def _cached_features(model: keras.Model, seams: list[str], task: Task, calibration: NDArray[np.float32]) -> Features:
    """Features of every draw of the training pictures, then of the validation pictures; from disk where whole."""
    folder = task.folder / "features"
    complete = folder / "complete"
    if complete.is_file():
        return open_features(folder)
    shutil.rmtree(folder, ignore_errors=True)
    (train_rows, _), (val_rows, _) = task.data.pictures_in("train"), task.data.pictures_in("val")
    part = FrozenPart(model.inputs[0], _frozen_tensors(model, seams, calibration))
    total = task.config.draws * train_rows.size + val_rows.size
    features, row = create_features(folder, part, total), 0
    with progress_bar("features") as bar:
        for draw in range(task.config.draws):
            row = part.fill(task.augmented(train_rows, draw), features, row, lambda done: bar.update(done, total))
        part.fill(task.plain(val_rows), features, row, lambda done: bar.update(done, total))
    for array in features.values():
        array.flush()
    complete.touch()
    return open_features(folder)


def _frozen_tensors(
    model: keras.Model, seams: list[str], calibration: NDArray[np.float32]
) -> dict[str, keras.KerasTensor]:
    """Both seams of the network, and both as int8 would have them, by name."""
    # The images that export will calibrate with: so the rounding here is that of the int8 file.
    rounded = rounded_like_int8(model, seams, measure_bounds(model, seams[-1], calibration))
    exact = {name: model.get_layer(name).output for name in seams}
    return exact | {f"{_ROUNDED}{name}": tensor for name, tensor in zip(seams, rounded, strict=True)}
