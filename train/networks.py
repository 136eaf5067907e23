"""How each network is trained: the CNN whole, MobileNetV2 in two phases on cached features."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from train.config import TrainConfig
from train.dataset import (
    Examples,
    augmented_images,
    epoch_order,
    plain_images,
    stored_features,
    weigh,
    with_targets,
)
from train.features import FeatureArrays, FrozenPart, create_feature_arrays, open_feature_arrays
from train.fitting import EpochRecord, Phase, fit
from train.models import MOBILENETV2_CUT, build_cnn, build_mobilenetv2, split_at
from train.progress import progress_bar
from train.split_data import SplitData

_POOL = "pool"  # the layer whose output the head of MobileNetV2 reads


def train_network(config: TrainConfig, data: SplitData, folder: Path) -> tuple[keras.Model, list[EpochRecord]]:
    """The trained network, (b, S, S, 3) -> (b, 1), and its history.

    Args:
        config: all settings.
        data: images and split.
        folder: keeps the state of training; a killed run goes on from it.
    """
    if config.model == "cnn":
        model = build_cnn(config.image_size)
        return model, _fit_whole(model, config, data, folder)
    model = build_mobilenetv2(config.image_size, config.alpha, config.weights)
    if config.weights == "none":
        return model, _fit_whole(model, config, data, folder)
    return model, _fit_transfer(model, config, data, folder)


def predict(model: keras.Model, data: SplitData, rows: NDArray[np.int64], batch_size: int) -> NDArray[np.float32]:
    """Probabilities (k,) for k rows of the images, not augmented."""
    return model.predict(plain_images(data.images_u8, rows, batch_size), verbose=0)[:, 0]


def _fit_whole(model: keras.Model, config: TrainConfig, data: SplitData, folder: Path) -> list[EpochRecord]:
    """Every layer from the first epoch on, images augmented anew in each."""
    examples = weigh(*data.pictures_in("train"))
    rows, labels = data.pictures_in("val")

    def batches(epoch: int):
        order = epoch_order(examples, config.seed, epoch)
        seed = _draw_seed(config.seed, epoch)
        images = augmented_images(data.images_u8, order.rows, config.batch_size, config.augmentation, seed)
        return with_targets(images, order, config.batch_size)

    phase = Phase(
        "all",
        model,
        config.epochs,
        config.learning_rate,
        examples.rows.size,
        config.batch_size,
        batches,
        lambda: predict(model, data, rows, config.batch_size),
        labels,
    )
    return fit(phase, folder / "all")


def _fit_transfer(model: keras.Model, config: TrainConfig, data: SplitData, folder: Path) -> list[EpochRecord]:
    """The head on the frozen backbone, then the upper blocks with it, both on cached features of augmented images.

    Batch normalisation stays in inference mode: its statistics are those of ImageNet, and batches of cached features
    of one draw would not estimate better ones (Keras guide "Transfer learning & fine-tuning").
    """
    examples = weigh(*data.pictures_in("train"))
    val_rows, val_labels = data.pictures_in("val")
    features = _cached_features(model, config, data, folder / "features", examples.rows, val_rows)
    history: list[EpochRecord] = []
    for name, cut, array, rate in (
        ("head", _POOL, features.pooled, config.learning_rate),
        ("fine-tuning", MOBILENETV2_CUT, features.seam, config.fine_tune_rate),
    ):
        _, upper = split_at(model, cut)
        for layer in upper.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        phase = _feature_phase(name, upper, rate, array, examples, val_labels, config)
        history += fit(phase, folder / name)
    return history


def _feature_phase(
    name: str,
    upper: keras.Model,
    rate: float,
    array: NDArray[np.generic],
    examples: Examples,
    val_labels: NDArray[np.int64],
    config: TrainConfig,
) -> Phase:
    """A phase on rows of a feature array: `draws` blocks of the training pictures, then the validation pictures."""
    count = examples.rows.size
    val_rows = np.arange(config.draws * count, array.shape[0])

    def batches(epoch: int):
        first_row = (epoch % config.draws) * count
        of_draw = Examples(first_row + np.arange(count), examples.labels, examples.weights)
        order = epoch_order(of_draw, config.seed, epoch)
        return with_targets(stored_features(array, order.rows, config.batch_size), order, config.batch_size)

    def predict_validation() -> NDArray[np.float32]:
        return upper.predict(stored_features(array, val_rows, config.batch_size), verbose=0)[:, 0]

    return Phase(name, upper, config.epochs, rate, count, config.batch_size, batches, predict_validation, val_labels)


def _cached_features(
    model: keras.Model,
    config: TrainConfig,
    data: SplitData,
    folder: Path,
    train_rows: NDArray[np.int64],
    val_rows: NDArray[np.int64],
) -> FeatureArrays:
    """Features of every draw of the training pictures, then of the validation pictures; from disk where whole."""
    complete = folder / "complete"
    if not complete.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        part = FrozenPart(split_at(model, MOBILENETV2_CUT)[0], split_at(model, _POOL)[0])
        total = config.draws * train_rows.size + val_rows.size
        arrays, row = create_feature_arrays(folder, part, total), 0
        with progress_bar("features") as bar:
            for draw in range(config.draws):
                seed = _draw_seed(config.seed, draw)
                images = augmented_images(data.images_u8, train_rows, config.batch_size, config.augmentation, seed)
                row = part.fill(images, arrays, row, lambda done: bar.update(done, total))
            images = plain_images(data.images_u8, val_rows, config.batch_size)
            part.fill(images, arrays, row, lambda done: bar.update(done, total))
        arrays.seam.flush()
        arrays.pooled.flush()
        complete.touch()
    return open_feature_arrays(folder)


def _draw_seed(seed: int, draw: int) -> int:
    """A seed for the augmentation of one draw; different draws of different runs share none."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0] >> 1)
