"""What every way of fitting needs: the settings, the pictures, and a folder for the state of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.config import TrainConfig
from train.data.batches import (
    CELL,
    Examples,
    augmented_images,
    augmented_with_cells,
    plain_images,
    to_network_input,
    weigh,
)
from train.data.split_data import SplitData
from train.run_folder import choose_calibration


@dataclass(frozen=True)
class Task:
    """One network to train."""

    config: TrainConfig  # all settings
    data: SplitData  # images and split
    folder: Path  # keeps the state of training; a killed run goes on from it
    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)  # the devices that train

    @contextmanager
    def on_all_devices(self, model: keras.Model) -> Iterator[keras.Model]:
        """A copy of a network on all devices, whose weights it has when the block ends; of one device, itself.

        Only what trains belongs into the block: elsewhere, what each device has to say would be joined.
        """
        if self.devices == 1:
            yield model
            return
        with self.strategy.scope():
            copy = keras.models.clone_model(model)
            copy.set_weights(model.get_weights())
            yield copy
        model.set_weights(copy.get_weights())

    @property
    def devices(self) -> int:
        """How many train; each takes an equal share of every batch."""
        return int(self.strategy.num_replicas_in_sync)

    def examples(self) -> Examples:
        """The different pictures of the train split, their classes weighing the same."""
        return weigh(*self.data.pictures_in("train"))

    def with_cells(self, rows: NDArray[np.int64], draw: int | None) -> tf.data.Dataset:
        """Batches of rows of the images and of how much of each cell is boxed; changed alike, without a draw not."""
        config = self.config
        augmentation, seed = (None, 0) if draw is None else (config.augmentation, _draw_seed(config.seed, draw))
        return augmented_with_cells(self.data.images_u8, self.data.boxes, rows, config.batch_size, augmentation, seed)

    @property
    def cells_shape(self) -> tuple[int, int]:
        """Rows and columns of the cells of an image."""
        return (self.config.image_size // CELL,) * 2

    def augmented(self, rows: NDArray[np.int64], draw: int) -> tf.data.Dataset:
        """Batches of rows of the images, changed at random; each draw changes them anew."""
        config = self.config
        seed = _draw_seed(config.seed, draw)
        return augmented_images(self.data.images_u8, rows, config.batch_size, config.augmentation, seed)

    def plain(self, rows: NDArray[np.int64]) -> tf.data.Dataset:
        """Batches of rows of the images, as they are."""
        return plain_images(self.data.images_u8, rows, self.config.batch_size)

    def calibration_images(self) -> NDArray[np.float32]:
        """(n, S, S, 3), 0 to 1: the images that the run keeps for calibration."""
        records = choose_calibration(self.data, self.config.calibration_images, self.config.seed)
        return np.asarray(to_network_input(self.data.images_u8[self.data.row_of_record[records]]))

    def predict(self, model: keras.Model, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities (k,) for k rows of the images, not augmented."""
        answers = model.predict(self.plain(rows), verbose=0)
        # Of a network with a heatmap, the first of two.
        return (answers[0] if isinstance(answers, list) else answers)[:, 0]


def _draw_seed(seed: int, draw: int) -> int:
    """A seed for the augmentation of one draw; different draws of different runs share none."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1)[0] >> 1)
