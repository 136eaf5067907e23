"""Fitting a whole network from random values: every layer learns, images are augmented anew in each epoch."""

from __future__ import annotations

from dataclasses import replace

import keras
import tensorflow as tf

from train.data.batches import epoch_order, with_targets
from train.fit.devices import divided_evenly
from train.fit.epochs import EpochRecord, Phase, fit
from train.fit.plans import falling_by_root
from train.fit.random_start import settle_quickly, start_shallow
from train.fit.task import Task
from train.int8.equalisation import equalise
from train.int8.fake_quant import put_on_grid, with_kernels_on_grid

ON_GRID_SHARE = 4  # of so many epochs from random values one, at the end, keeps the kernels on the int8 grid
ON_GRID_RATE = 0.3  # of the learning rate, in these


def fit_on_grid(model: keras.Model, task: Task) -> list[EpochRecord]:
    """All epochs with kernels on the int8 grid: for shallow networks, which learn no slower that way."""
    with task.on_all_devices(model) as trained:
        history = _fit_whole("all", with_kernels_on_grid(trained), task)
    put_on_grid(model)
    return history


def fit_from_random_values(model: keras.Model, task: Task) -> list[EpochRecord]:
    """Most epochs in float, the last ones with kernels on the int8 grid.

    With them there from the start, so deep a network learns far slower: AUC 0.81 in place of 0.93 on the embedded data
    set after 12 epochs.
    """
    config = task.config
    last_epochs = config.epochs // ON_GRID_SHARE
    settle_quickly(model)
    start_shallow(model)
    first = replace(config, epochs=config.epochs - last_epochs)
    last = replace(config, epochs=last_epochs, learning_rate=config.learning_rate * ON_GRID_RATE)
    with task.on_all_devices(model) as trained:
        history = _fit_whole("float", trained, replace(task, config=first))
    if last_epochs == 0:
        return history
    equalise(model, task.calibration_images())
    with task.on_all_devices(model) as trained:
        history += _fit_whole("on the grid", with_kernels_on_grid(trained), replace(task, config=last))
    put_on_grid(model)
    return history


def _fit_whole(name: str, model: keras.Model, task: Task) -> list[EpochRecord]:
    """A phase of every layer."""
    config, examples = task.config, task.examples()
    val_rows, val_labels = task.data.pictures_in("val")

    def batches(epoch: int) -> tf.data.Dataset:
        order = epoch_order(examples, config.seed, epoch)
        taught = with_targets(task.augmented(order.rows, epoch), order, config.batch_size)
        return divided_evenly(taught, task.devices)

    phase = Phase(
        name=name,
        model=model,
        epochs=config.epochs,
        plan=falling_by_root(config.learning_rate, config.epochs),
        examples=examples.rows.size,
        batch_size=config.batch_size,
        batches=batches,
        predict=lambda: task.predict(model, val_rows),
        validation_labels=val_labels,
    )
    return fit(phase, task.folder / name)
