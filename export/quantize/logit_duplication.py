"""A probability in finer steps than the logit below it has in int8: the mean of several that are staggered.

An int8 logit from -6 to 6 moves in steps of 0.047, the probability near 0.5 thus in steps of 0.012. With COPIES of the
logit, their rounding staggered (see channel_duplication.py), the mean of their probabilities moves in the steps of
the int8 output, 1/255. On validation images of FracAtlas that took the mean change of
a probability from 0.0047 to 0.0041.
`.onnx` files need none of it: their logit stays a 32-bit sum.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from export.convert.ends import OUTPUT
from export.quantize.activation_ranges import LOGIT_REACH
from export.quantize.channel_duplication import shifts_of
from train.int8.grid import range_scale
from train.int8.keras_graph import answer_layer

COPIES = 4

_BEYOND = 1.25  # times the largest logit that a few images caused


def ends_with_one_sigmoid(network: keras.Model) -> bool:
    """Whether the last layer is dense and gives one probability."""
    last = answer_layer(network)
    return isinstance(last, layers.Dense) and last.units == 1 and last.activation is keras.activations.sigmoid


def logit_reach(network: keras.Model, images: NDArray[np.float32]) -> float:
    """The largest magnitude that int8 covers of the logit, LOGIT_REACH at most.

    Args:
        network: ends with one sigmoid.
        images: (n, S, S, 1), 0 to 1; a few dozen.
    """
    last = answer_layer(network)
    kernel, *bias = last.get_weights()
    features = np.asarray(keras.Model(network.inputs[0], last.input).predict_on_batch(images))
    largest = np.abs(features @ kernel + sum(bias)).max()
    return float(np.clip(_BEYOND * largest, 1e-3, LOGIT_REACH))


def with_duplicated_logit(network: keras.Model, reach: float) -> keras.Model:
    """The same function, its last layer four times.

    Args:
        network: with input `grey`; ends with one sigmoid.
        reach: int8 will cover logits from minus this to this.
    """
    last = answer_layer(network)
    kernel, *bias = last.get_weights()
    copied = layers.Dense(COPIES, activation="sigmoid", name=f"{OUTPUT}_copies")
    mean = layers.Dense(1, use_bias=False, name=f"{OUTPUT}_mean")
    probability = mean(copied(last.input))
    step = range_scale(-reach, reach)
    copied.set_weights([np.tile(kernel, COPIES), sum(bias) + shifts_of(COPIES) * step])
    mean.set_weights([np.full((COPIES, 1), 1.0 / COPIES)])
    return keras.Model(network.inputs[0], [probability, *network.outputs[1:]], name=network.name)
