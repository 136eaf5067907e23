"""Transfer learning: what lies above the cut learns from cached features of the frozen part below it.

Batch normalisation stays in inference mode: its statistics are those of ImageNet, and batches of cached features would
not estimate better ones (Keras guide "Transfer learning & fine-tuning"). Head and upper blocks learn together, warmed
up: a head alone, before them, won nothing (docs/experiments.md).
"""

from __future__ import annotations

import shutil

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from train.config import TrainConfig
from train.data.batches import Examples, balanced_order, stored_features
from train.fit.consistency import ONE_IN, measure_bounds, rounded_like_int8
from train.fit.epochs import EpochRecord, Phase, fit
from train.fit.frozen_features import Features, FrozenPart, create_features, fill, open_features, shapes_of
from train.fit.plans import averaged_cosine
from train.fit.task import Task
from train.fit.teaching import LEAST_SHARE, TaughtPart, images_again, paired_batches, targets, taught_part
from train.fit.whole import fit_from_random_values
from train.int8.equalisation import equalise
from train.int8.fake_quant import put_on_grid
from train.int8.keras_graph import answer_layer
from train.models import find_network
from train.networks.heads import OPINIONS
from train.progress import progress_bar

_ROUNDED = "rounded_"  # before the name of the cut: its features as int8 would have them
_CELLS = "cells"  # name of the array of how much of each cell is boxed


def fit_pretrained_or_random(model: keras.Model, task: Task) -> list[EpochRecord]:
    """By transfer learning, or from random values where there are no weights to start from."""
    fitting = fit_from_random_values if task.config.weights == "none" else fit_transfer
    return fitting(model, task)


def fit_transfer(model: keras.Model, task: Task) -> list[EpochRecord]:
    """The history of a pretrained network; its entry in the table names the cut."""
    cut = _cut(task.config.model)
    # Rounded before anything is learnt from them: so the layers above learn what int8 will read.
    calibration = task.calibration_images()
    equalise(model, calibration)
    put_on_grid(model)
    features = _cached_features(model, cut, task, calibration)
    with task.on_all_devices(model) as trained:
        _freeze_below(trained, cut)
        history = fit(_phase(taught_part(trained, cut), features, cut, task), task.folder / "transfer")
    put_on_grid(model)
    return history


def _cut(model: str) -> str:
    """The layer above which a pretrained network is fine-tuned."""
    cut = find_network(model).cut
    if cut is None:
        raise DataError(f"--model {model}: its entry in train/models.py names no cut, so it cannot be fine-tuned")
    return cut


def _freeze_below(model: keras.Model, seam: str) -> None:
    """Lets the layers above a seam train, but for normalisation, and for the mean of a head's opinions."""
    names = [layer.name for layer in model.layers]
    fixed = {answer_layer(model).name} if OPINIONS in names else set()
    above = set(names[names.index(seam) + 1 :]) - fixed
    for layer in model.layers:
        layer.trainable = layer.name in above and not isinstance(layer, keras.layers.BatchNormalization)


def _phase(part: TaughtPart, features: Features, cut: str, task: Task) -> Phase:
    """The phase on rows of features: `draws` blocks of the training pictures, the same unchanged, then validation."""
    config, examples = task.config, task.examples()
    exact, rounded, cells = features[cut], features[f"{_ROUNDED}{cut}"], features[_CELLS]
    images = _images_in_batch(config)
    count, plain_row = examples.rows.size, config.draws * examples.rows.size
    uncut = np.asarray(cells[plain_row : plain_row + count], np.float32).sum(axis=(1, 2))

    def batches(epoch: int) -> tf.data.Dataset:
        chosen = _order(config, examples, epoch)
        taught = targets(part, chosen, cells[chosen.rows], uncut[chosen.rows % count])
        of_exact, of_rounded = (stored_features(array, chosen.rows, images) for array in (exact, rounded))
        return paired_batches(of_exact, of_rounded, taught, images, task.devices)

    def predict_validation() -> NDArray[np.float32]:
        rows = np.arange(plain_row + count, len(exact))
        return part.exact.predict(stored_features(exact, rows, config.batch_size), verbose=0)[:, 0]

    return Phase(
        name="transfer",
        model=part.training,
        epochs=config.epochs,
        plan=averaged_cosine(config.fine_tune_rate, config.epochs * -(-count // images)),
        examples=count,
        batch_size=images,
        batches=batches,
        predict=predict_validation,
        validation_labels=task.data.pictures_in("val")[1],
        loss=part.losses(),
        metrics=part.metrics(),
    )


def _images_in_batch(config: TrainConfig) -> int:
    """Different ones; some of them come twice."""
    return max(1, config.batch_size * ONE_IN // (ONE_IN + 1))


def _order(config: TrainConfig, examples: Examples, epoch: int) -> Examples:
    """The rows of features that one epoch learns from, in its order."""
    return balanced_order(examples, config.draws, LEAST_SHARE, config.seed, epoch)


def _rows_in_use(task: Task, total: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each of the rows of `_phase`, whether its features are read, in float and in int8.

    What every epoch will choose is known before the first. Half of the draws are chosen by none, and in int8 a third of
    each batch is read: so most of what could be calculated would be for nobody.
    """
    config, examples = task.config, task.examples()
    count, images = examples.rows.size, _images_in_batch(task.config)
    exact, rounded = np.zeros((2, total), bool)
    exact[(config.draws + 1) * count :] = True  # of validation
    for epoch in range(config.epochs):
        rows = _order(config, examples, epoch).rows
        exact[rows] = True
        for batch in np.split(rows, range(images, count, images)):
            rounded[batch[: images_again(batch.size, task.devices)]] = True
    return exact, rounded


def _cached_features(model: keras.Model, cut: str, task: Task, calibration: NDArray[np.float32]) -> Features:
    """What the layers above the cut see of each picture, and how much of its cells is boxed; from disk where whole.

    Rows are every draw of the training pictures, these unchanged, then the validation pictures.
    """
    folder = task.folder / "features"
    complete = folder / "complete"  # with the number of devices, which decides what is read
    if complete.is_file() and complete.read_text() == str(task.devices):
        return open_features(folder)
    shutil.rmtree(folder, ignore_errors=True)
    (train_rows, _), (val_rows, _) = task.data.pictures_in("train"), task.data.pictures_in("val")
    parts = _frozen_parts(model, cut, calibration)
    draws = task.config.draws
    total, row = (draws + 1) * train_rows.size + val_rows.size, 0
    used = list(zip(parts, _rows_in_use(task, total), strict=True))
    features = create_features(folder, shapes_of(parts) | {_CELLS: task.cells_shape}, total)
    with progress_bar("features") as bar:
        for rows, draw in [*((train_rows, draw) for draw in range(draws)), (train_rows, None), (val_rows, None)]:
            batches = task.with_cells(rows, draw)
            row = fill(used, batches, features, _CELLS, row, lambda done: bar.update(done, total))
    for array in features.values():
        array.flush()
    complete.write_text(str(task.devices))
    return open_features(folder)


def _frozen_parts(model: keras.Model, cut: str, calibration: NDArray[np.float32]) -> list[FrozenPart]:
    """The network up to the cut in float, and in int8."""
    # The images that export will calibrate with: so the rounding here is that of the int8 file.
    (rounded,) = rounded_like_int8(model, [cut], measure_bounds(model, cut, calibration))
    image = model.inputs[0]
    exact = FrozenPart(image, {cut: model.get_layer(cut).output})
    return [exact, FrozenPart(image, {f"{_ROUNDED}{cut}": rounded}, int8=True)]
