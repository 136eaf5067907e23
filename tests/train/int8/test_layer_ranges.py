"""Ranges are those of the tensors that int8 rounds, each by the name of the layer that ends it."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from train.int8.layer_ranges import layer_ranges  # noqa: E402


@pytest.fixture
def network():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU(6.0, name="end_of_first")(layers.Conv2D(2, 1, use_bias=False, name="first")(image))
    x = layers.MaxPooling2D(name="moves")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="probability")(x))


def test_only_what_is_rounded_has_a_range_and_the_probability_has_none(network):
    ranges = layer_ranges(network, np.random.default_rng(0).random((4, 8, 8, 1), np.float32))
    assert set(ranges) == {"end_of_first", "mean"}


def test_a_range_covers_what_the_layer_gives(network):
    network.get_layer("first").set_weights([np.array([3.0, -3.0], np.float32).reshape(1, 1, 1, 2)])
    lowest, highest = layer_ranges(network, np.ones((4, 8, 8, 1), np.float32))["end_of_first"]
    assert lowest == 0.0 and highest == pytest.approx(3.0, rel=0.01)
