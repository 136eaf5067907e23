"""How each network is trained: the CNN whole, MobileNetV2 in two phases on cached features."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.config import TrainConfig
from train.data.batches import (
    Examples,
    augmented_images,
    epoch_order,
    plain_images,
    stored_features,
    to_network_input,
    weigh,
    with_targets,
)
from train.data.split_data import SplitData
from train.fit.consistency import PairedNetwork, measure_bounds, pair_from, rounded_like_int8
from train.fit.epochs import EpochRecord, Phase, fit
from train.fit.frozen_features import Features, FrozenPart, create_features, open_features
from train.int8.equalisation import equalise
from train.int8.fake_quant import put_on_grid, with_kernels_on_grid
from train.models import MOBILENETV2_CUT, build_cnn, build_mobilenetv2
from train.progress import progress_bar
from train.run_folder import choose_calibration

ON_GRID_SHARE = 4  # of so many epochs from random values one, at the end, keeps the kernels on the int8 grid
ON_GRID_RATE = 0.3  # of the learning rate, in these
POOL = "pool"  # the layer whose output the head of MobileNetV2 reads
ROUNDED = "rounded_"  # before the name of a seam: its features as int8 would have them


def train_network(config: TrainConfig, data: SplitData, folder: Path) -> tuple[keras.Model, list[EpochRecord]]:
    """The trained network, (b, S, S, 3) -> (b, 1), and its history.

    Args:
        config: all settings.
        data: images and split.
        folder: keeps the state of training; a killed run goes on from it.
    """
    if config.model == "cnn":
        model = build_cnn(config.image_size)
        history = _fit_whole("all", with_kernels_on_grid(model), config, data, folder)
        put_on_grid(model)
        return model, history
    model = build_mobilenetv2(config.image_size, config.alpha, config.weights)
    if config.weights == "none":
        return model, _fit_from_random_values(model, config, data, folder)
    return model, _fit_transfer(model, config, data, folder)


def _fit_from_random_values(
    model: keras.Model, config: TrainConfig, data: SplitData, folder: Path
) -> list[EpochRecord]:
    """Most epochs in float, the last ones with kernels on the int8 grid.

    With them there from the start, so deep a network learns far slower: AUC 0.81 in place of 0.93 on the embedded data
    set after 12 epochs.
    """
    last_epochs = config.epochs // ON_GRID_SHARE
    first = replace(config, epochs=config.epochs - last_epochs)
    last = replace(config, epochs=last_epochs, learning_rate=config.learning_rate * ON_GRID_RATE)
    history = _fit_whole("float", model, first, data, folder)
    if last_epochs == 0:
        return history
    equalise(model, _calibration_images(config, data))
    history += _fit_whole("on the grid", with_kernels_on_grid(model), last, data, folder)
    put_on_grid(model)
    return history


def predict(model: keras.Model, data: SplitData, rows: NDArray[np.int64], batch_size: int) -> NDArray[np.float32]:
    """Probabilities (k,) for k rows of the images, not augmented."""
    return model.predict(plain_images(data.images_u8, rows, batch_size), verbose=0)[:, 0]


def _fit_whole(name: str, model: keras.Model, config: TrainConfig, data: SplitData, folder: Path) -> list[EpochRecord]:
    """A phase of every layer, images augmented anew in each epoch."""
    examples = weigh(*data.pictures_in("train"))
    rows, labels = data.pictures_in("val")

    def batches(epoch: int):
        order = epoch_order(examples, config.seed, epoch)
        seed = _draw_seed(config.seed, epoch)
        images = augmented_images(data.images_u8, order.rows, config.batch_size, config.augmentation, seed)
        return with_targets(images, order, config.batch_size)

    phase = Phase(
        name,
        model,
        config.epochs,
        config.learning_rate,
        examples.rows.size,
        config.batch_size,
        batches,
        lambda: predict(model, data, rows, config.batch_size),
        labels,
    )
    return fit(phase, folder / name)


def _fit_transfer(model: keras.Model, config: TrainConfig, data: SplitData, folder: Path) -> list[EpochRecord]:
    """The head on the frozen backbone, then the upper blocks with it, both on cached features of augmented images.

    Batch normalisation stays in inference mode: its statistics are those of ImageNet, and batches of cached features
    of one draw would not estimate better ones (Keras guide "Transfer learning & fine-tuning").
    """
    calibration = _calibration_images(config, data)
    equalise(model, calibration)
    put_on_grid(model)
    examples = weigh(*data.pictures_in("train"))
    val_rows, val_labels = data.pictures_in("val")
    features = _cached_features(model, config, data, folder / "features", examples.rows, val_rows, calibration)
    history: list[EpochRecord] = []
    for name, seam, rate in (
        ("head", POOL, config.learning_rate),
        ("fine-tuning", MOBILENETV2_CUT, config.fine_tune_rate),
    ):
        _freeze_below(model, seam)
        pair = pair_from(model, seam)
        phase = _feature_phase(
            name, pair, rate, features[seam], features[f"{ROUNDED}{seam}"], examples, val_labels, config
        )
        history += fit(phase, folder / name)
        put_on_grid(model)
    return history


def _freeze_below(model: keras.Model, seam: str) -> None:
    """Lets the layers above a seam train, but for normalisation."""
    names = [layer.name for layer in model.layers]
    above = set(names[names.index(seam) + 1 :])
    for layer in model.layers:
        layer.trainable = layer.name in above and not isinstance(layer, keras.layers.BatchNormalization)


def _feature_phase(
    name: str,
    pair: PairedNetwork,
    rate: float,
    exact: NDArray[np.floating],
    rounded: NDArray[np.floating],
    examples: Examples,
    val_labels: NDArray[np.int64],
    config: TrainConfig,
) -> Phase:
    """A phase on rows of feature arrays: `draws` blocks of the training pictures, then the validation pictures."""
    count = examples.rows.size
    val_rows = np.arange(config.draws * count, exact.shape[0])

    def batches(epoch: int):
        first_row = (epoch % config.draws) * count
        of_draw = Examples(first_row + np.arange(count), examples.labels, examples.weights)
        order = epoch_order(of_draw, config.seed, epoch)
        both = (stored_features(array, order.rows, config.batch_size) for array in (exact, rounded))
        return with_targets(tf.data.Dataset.zip(*both), order, config.batch_size)

    def predict_validation() -> NDArray[np.float32]:
        return pair.exact.predict(stored_features(exact, val_rows, config.batch_size), verbose=0)[:, 0]

    return Phase(
        name, pair.training, config.epochs, rate, count, config.batch_size, batches, predict_validation, val_labels
    )


def _cached_features(
    model: keras.Model,
    config: TrainConfig,
    data: SplitData,
    folder: Path,
    train_rows: NDArray[np.int64],
    val_rows: NDArray[np.int64],
    calibration: NDArray[np.float32],
) -> Features:
    """Features of every draw of the training pictures, then of the validation pictures; from disk where whole."""
    complete = folder / "complete"
    if complete.is_file():
        return open_features(folder)
    shutil.rmtree(folder, ignore_errors=True)
    part = FrozenPart(model.inputs[0], _frozen_tensors(model, calibration))
    total = config.draws * train_rows.size + val_rows.size
    features, row = create_features(folder, part, total), 0
    with progress_bar("features") as bar:
        for draw in range(config.draws):
            images = _augmented_draw(config, data, train_rows, draw)
            row = part.fill(images, features, row, lambda done: bar.update(done, total))
        images = plain_images(data.images_u8, val_rows, config.batch_size)
        part.fill(images, features, row, lambda done: bar.update(done, total))
    for array in features.values():
        array.flush()
    complete.touch()
    return open_features(folder)


def _frozen_tensors(model: keras.Model, calibration: NDArray[np.float32]) -> dict[str, keras.KerasTensor]:
    """Both seams of the network, and both as int8 would have them, by name."""
    seams = [MOBILENETV2_CUT, POOL]
    # The images that export will calibrate with: so the rounding here is that of the int8 file.
    rounded = rounded_like_int8(model, seams, measure_bounds(model, POOL, calibration))
    exact = {name: model.get_layer(name).output for name in seams}
    return exact | {f"{ROUNDED}{name}": tensor for name, tensor in zip(seams, rounded, strict=True)}


def _calibration_images(config: TrainConfig, data: SplitData) -> NDArray[np.float32]:
    """(n, S, S, 3), 0 to 1: the images that the run keeps for calibration."""
    records = choose_calibration(data, config.calibration_images, config.seed)
    return np.asarray(to_network_input(data.images_u8[data.row_of_record[records]]))


def _augmented_draw(config: TrainConfig, data: SplitData, rows: NDArray[np.int64], draw: int) -> tf.data.Dataset:
    seed = _draw_seed(config.seed, draw)
    return augmented_images(data.images_u8, rows, config.batch_size, config.augmentation, seed)


def _draw_seed(seed: int, draw: int) -> int:
    """A seed for the augmentation of one draw; different draws of different runs share none."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0] >> 1)
