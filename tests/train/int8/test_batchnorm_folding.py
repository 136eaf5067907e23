"""A folded network answers as the one it was made of, and holds nothing but what gets rounded."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from train.int8.batchnorm_folding import folded

FOLDING_TOLERANCE = 2e-5  # of outputs around 1: float32 sums in another order


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).random((4, 33, 33, 1), np.float32)


def network(padding: str, stride: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    grey = keras.Input((33, 33, 1), name="grey")
    x = layers.Rescaling(2.0, -1.0)(grey)
    x = layers.Conv2D(4, 3, strides=stride, padding=padding, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization(scale=False)(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.Add()([x, layers.ReLU()(x)])))
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid")(x))
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2.0, values.shape) for values in layer.get_weights()])
    return model


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_folded_network_answers_alike_up_to_its_borders(images, padding, stride):
    model = network(padding, stride)
    np.testing.assert_allclose(folded(model)(images), model(images), atol=FOLDING_TOLERANCE)


def test_normalisation_scaling_and_dropout_are_gone():
    kinds = {type(layer).__name__ for layer in folded(network("same", 2)).layers}
    assert not kinds & {"BatchNormalization", "Rescaling", "Dropout"}


def test_a_nested_network_is_refused():
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    grey = keras.Input((8, 8, 1))
    with pytest.raises(ModelError, match="flat network"):
        folded(keras.Model(grey, inner(grey)))
