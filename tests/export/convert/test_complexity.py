"""What folding changes, counted by hand for a small network, and proven by equal answers."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.spec import ModelSpec
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from export.convert.complexity import measure_folding, operations
    from export.convert.prepared_network import prepare

SPEC = ModelSpec("small", 8, "stretch", "box", ("not fractured", "fractured"), 0.5, "phantom")


@pytest.fixture
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(2.0, -1.0)(image)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.5)(x)))


def test_operations_and_bytes_are_those_counted_by_hand(network):
    images_u8 = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    effect = measure_folding(prepare(network, SPEC, images_u8), images_u8)
    scaling, first, second = 8 * 8 * 3, 8 * 8 * 4 * 9, 4 * 4 * 4 * 9
    normalising = 8 * 8 * 4 + 4 * 4 * 4
    assert operations(network) == effect.operations_before == scaling + first * 3 + second + normalising + 4
    assert effect.operations_after == first + second + 4
    assert effect.bytes_before == 4 * (4 * 27 + 4 * 4 + 4 * 9 + 4 * 4 + 5)
    assert effect.bytes_after == 4 * ((4 * 9 + 4) + (4 * 9 + 4) + 5)
    assert 0 < effect.largest_difference < 1e-6  # the kernels are kept in float32


def test_a_network_that_cannot_be_folded_says_so(network):
    nested = keras.Model(network.inputs[0], network(network.inputs[0]))
    images_u8 = np.zeros((1, 8, 8), np.uint8)
    effect = measure_folding(prepare(nested, SPEC, images_u8), images_u8)
    assert effect.largest_difference is None and effect.operations_before == effect.operations_after > 0
    assert "cannot be folded" in str(effect)
