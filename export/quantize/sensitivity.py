"""How far the rounding of each tensor moves the answer, told by one backward pass and no trial of int8.

To first order the change of the logit is the sum, over the values of every tensor, of what rounding changes of the
value times the slope of the logit there. The rounding itself is known, value by value, so that flat areas, where all
values round alike, count as they should.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.int8.grid import integers_around_zero, range_scale, round_to_grid
from train.int8.keras_graph import answer_layer

_BATCH = 8  # images


def logit_changes(
    network: keras.Model, images: NDArray[np.float32], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, NDArray[np.float64]]:
    """(n,) of each tensor: what rounding it alone changes of the logit of each image, to first order.

    Args:
        network: its last layer is dense, with one unit.
        images: (n, S, S, channels), 0 to 1.
        ranges: (smallest, largest) value that int8 covers of each tensor, by the name of the layer that ends it.
    """
    last = answer_layer(network)
    kernel = tf.constant(last.get_weights()[0])
    outputs = [network.get_layer(name).output for name in ranges]
    observed = keras.Model(network.inputs[0], [*outputs, last.input])

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def changes(batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            *tensors, features = observed(batch, training=False)
            logits = tf.matmul(features, kernel)  # but for a constant
        slopes = tape.gradient(logits, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        errors = [_rounded(values, *ranges[name]) - values for name, values in zip(ranges, tensors, strict=True)]
        products = (error * slope for error, slope in zip(errors, slopes, strict=True))
        return tf.stack([tf.reduce_sum(one, axis=list(range(1, len(one.shape)))) for one in products])

    batches = [changes(tf.constant(images[row : row + _BATCH])).numpy() for row in range(0, len(images), _BATCH)]
    return dict(zip(ranges, np.concatenate(batches, axis=1).astype(np.float64), strict=True))


def _rounded(values: tf.Tensor, lowest: float, highest: float) -> tf.Tensor:
    """Values as int8 would hold them."""
    scale = range_scale(lowest, highest)
    return round_to_grid(values, scale, integers_around_zero(lowest, scale), keras.ops)
