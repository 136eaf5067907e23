"""A network by name, built and trained as the table of networks says."""

from __future__ import annotations

import keras

from train.fit.epochs import EpochRecord
from train.fit.task import Task
from train.models import find_network, load


def train_network(task: Task) -> tuple[keras.Model, list[EpochRecord]]:
    """The trained network, (b, S, S, 3) -> (b, 1), and its history.

    Raises:
        DataError: there is no network of that name, or its weights cannot be had.
        ModelError: a file of weights does not fit the network.
    """
    config = task.config
    network = find_network(config.model)
    model = load(network.builder)(config.image_size, **{name: getattr(config, name) for name in network.options})
    return model, load(network.fitting)(model, task)
