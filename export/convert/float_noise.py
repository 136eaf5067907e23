"""How far float32 rounding may move a network's answers, whoever sums in whatever order: the tolerance of float files.

A converter keeps the weights and sums in another order. Adding n products one after the other rounds n times, each time
by half a unit in the last place of the sum so far, one way or the other (Higham and Mary 2019, doi 10.1137/18M1226312):
an error of some u sqrt(n) times the root mean square of the sums on the way. Errors of that size, drawn at random, are
added to every layer of the network in float64. A mean over an image is worse: thousands of values of one sign, where
rounding goes one way for long, so it is added up value by value here. What all this does to the probability is
measured: a network that amplifies rounding gets the tolerance that it needs, another one none.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from edge_runtime.quantization import grey_to_float
from export.convert.complexity import operations
from export.convert.grey_network import float_probabilities, in_float64
from train.int8.keras_graph import call, run_layers

UNIT = float(np.finfo(np.float32).eps) / 2  # rounding to nearest errs by at most half a unit in the last place
DRAWS = 2  # more change the largest effect little
MOST_OPERATIONS = 2_000_000_000  # multiplications that a draw may take: a small network is shown more images
IMAGES = (4, 32)  # fewest and most

_SEED = 0
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)
_SUMMING = (*_CONVOLUTIONS, layers.Dense)
# They hand on or choose among what they read, and round nothing.
_EXACT = (
    *(layers.InputLayer, layers.Dropout, layers.ZeroPadding2D, layers.Flatten, layers.Reshape),
    *(layers.MaxPooling2D, layers.GlobalMaxPooling2D, layers.ReLU, layers.Concatenate),
)


def float32_noise(model: keras.Model, images_u8: NDArray[np.uint8]) -> float:
    """The largest effect on a probability of rounding every sum to float32.

    Never less than what Keras' own float32 shows.

    Args:
        model: flat, as trained; takes (N, S, S, 1 or 3), 0 to 1.
        images_u8: (N, S, S), grey; as many of the first as MOST_OPERATIONS allow.
    """
    fewest, most = IMAGES
    images_u8 = images_u8[: max(fewest, min(most, MOST_OPERATIONS // max(1, operations(model))))]
    exact = in_float64(model)
    grey = grey_to_float(images_u8).astype(np.float64)[..., np.newaxis]
    inputs = tf.constant(np.repeat(grey, exact.inputs[0].shape[-1], axis=-1))
    clean = float_probabilities(exact, images_u8)
    generator = tf.random.Generator.from_seed(_SEED)
    largest = float(np.abs(float_probabilities(model, images_u8) - clean).max())
    for _ in range(DRAWS):
        outputs = run_layers(exact, exact.inputs[0], inputs, lambda layer, read: _noisy(layer, read, generator))
        noisy = np.asarray(outputs[0] if isinstance(outputs, list) else outputs)[:, 0]
        largest = max(largest, float(np.abs(noisy - clean).max()))
    return largest


def _noisy(layer: layers.Layer, inputs: list[Any], generator: tf.random.Generator) -> Any:
    """The output of a layer whose sums are rounded."""
    if isinstance(layer, _EXACT):
        return call(layer, inputs)
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return _added_in_turn(inputs[0], layer.keepdims)
    activation = getattr(layer, "activation", None)
    sums, magnitude, count = _sums(layer, inputs)
    noise = generator.normal(tf.shape(sums), dtype=sums.dtype) * magnitude * (UNIT * float(np.sqrt(count)))
    rounded = sums + noise
    return rounded if activation is None or not isinstance(layer, _SUMMING) else activation(rounded)


def _sums(layer: layers.Layer, inputs: list[Any]) -> tuple[Any, Any, int]:
    """(what the layer sums, root mean square of the sums on the way, how many products are summed)."""
    if isinstance(layer, _SUMMING):
        kernel = layer.get_weights()[0]
        count = int(np.prod(kernel.shape[:2])) if isinstance(layer, layers.DepthwiseConv2D) else kernel[..., 0].size
        sums, squares = _linear(layer, inputs[0], np.asarray), _linear(layer, tf.square(inputs[0]), np.square)
        # Products of mean m and deviation s: the k-th sum is some k m + sqrt(k) s, so its mean square over k is this.
        return sums, tf.sqrt(tf.square(sums) / 3.0 + squares / 2.0), count
    output = call(layer, inputs)
    if isinstance(layer, layers.AveragePooling2D):
        return output, tf.abs(output), int(np.prod(layer.pool_size))
    return output, tf.abs(output), 1


def _added_in_turn(images: Any, keepdims: bool) -> Any:
    """The mean of each channel, summed value by value in float32."""
    values = np.asarray(images, np.float32).reshape(images.shape[0], -1, images.shape[-1])
    mean = np.cumsum(values, axis=1, dtype=np.float32)[:, -1].astype(np.float64) / values.shape[1]
    return tf.constant(mean[:, None, None] if keepdims else mean)


def _linear(layer: layers.Layer, inputs: Any, weigh: Any) -> Any:
    """What a layer gives without activation, its weights passed through a function."""
    plain = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    plain.build(inputs.shape)
    plain.set_weights([weigh(values) for values in layer.get_weights()])
    return plain(inputs)
