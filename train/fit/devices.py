"""Several accelerators that train one network: each takes a share of every batch, their gradients are added up.

By TensorFlow's MirroredStrategy, for Keras' own distribution does not know TensorFlow. The batch stays as large as it
was asked for. A loss is the mean of equal shares, so batches are made to divide evenly.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from edge_runtime.errors import DataError


def open_devices(wanted: int | None) -> tf.distribute.Strategy:
    """The strategy that trains on so many devices; of one device TensorFlow's default, under which nothing changes.

    Args:
        wanted: number of GPUs, or of logical processors where there is no GPU; None: all there are.

    Raises:
        DataError: there are fewer.
    """
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    count = len(devices) if wanted is None else wanted
    if count > len(devices):
        raise DataError(f"--devices {count}: TensorFlow sees {len(devices)} {kind} on this machine")
    return tf.distribute.get_strategy() if count == 1 else tf.distribute.MirroredStrategy(devices[:count])


def divided_evenly(batches: tf.data.Dataset, devices: int) -> tf.data.Dataset:
    """(features, labels, weights) batches whose examples divide by the number of devices.

    What lacks is filled up with examples of the same batch that weigh nothing; the others weigh more by as much as the
    mean is taken over more.
    """
    if devices == 1:
        return batches

    def fill(features: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows = tf.shape(features)[0]
        chosen, share = filled(rows, devices)
        weighed = tf.concat([weights * share, tf.zeros_like(tf.gather(weights, chosen[rows:]))], axis=0)
        return tf.gather(features, chosen), tf.gather(labels, chosen), weighed

    return batches.map(fill)


def filled_count(rows: Any, devices: int) -> Any:
    """How many rows there are once they divide by devices; a number, or a tensor of one."""
    return rows + -rows % devices


def filled(rows: tf.Tensor, devices: int) -> tuple[tf.Tensor, tf.Tensor]:
    """(indices of rows with some of them again at the end, so that they divide by devices; their number over rows)."""
    total = filled_count(rows, devices)
    return tf.range(total) % rows, tf.cast(total, tf.float32) / tf.cast(rows, tf.float32)
