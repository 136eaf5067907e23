"""Weights rounded layer by layer: on the grid, and closer to the trained network than the nearest integers."""

from __future__ import annotations

import numpy as np
import pytest

from export.quantize.weight_rounding import Moments, learned_integers, nearest_integers, reconstruct
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from train.int8.batchnorm_folding import folded
    from train.int8.layer_kinds import WEIGHTED

GRID_TOLERANCE = 1e-4  # of a step: what float32 makes of 127 steps


def moments(samples: np.ndarray) -> Moments:
    """Of inputs (1, rows, K) that are not rounded."""
    centred = samples - samples.mean(axis=1, keepdims=True)
    covariance = centred.transpose(0, 2, 1) @ centred / samples.shape[1]
    return Moments(covariance, covariance)


@pytest.fixture
def correlated() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, 4000, 6)) @ rng.normal(size=(6, 40)) + 0.1 * rng.normal(size=(1, 4000, 40))


def test_learned_integers_answer_closer_than_the_nearest(correlated):
    weights = np.random.default_rng(1).normal(size=(1, 40, 16))
    errors = {}
    for rounding in (nearest_integers, learned_integers):
        error = correlated @ (rounding(weights, moments(correlated)) - weights)
        errors[rounding] = float(np.var(error))
    assert errors[learned_integers] < 0.25 * errors[nearest_integers]


@pytest.mark.parametrize("rounding", [nearest_integers, learned_integers])
def test_each_output_channel_has_integers_that_reach_127(correlated, rounding):
    found = rounding(np.random.default_rng(1).normal(size=(1, 40, 16)), moments(correlated))
    steps = found / (np.abs(found).max(axis=1, keepdims=True) / 127.0)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def test_inputs_that_never_change_are_no_obstacle():
    constant = np.zeros((3, 50, 9))
    weights = np.random.default_rng(2).normal(size=(3, 9, 1))
    np.testing.assert_allclose(
        learned_integers(weights, moments(constant)), nearest_integers(weights, None), atol=1e-12
    )


@pytest.fixture
def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    grey = keras.Input((32, 32, 1), name="grey")
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=2, padding="same")(grey))
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Add()([layers.Conv2D(8, 1)(x), layers.Conv2D(8, 1)(x)])
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel, bias = layer.get_weights()
            layer.set_weights([3 * kernel, rng.normal(0, 0.3, bias.shape)])
    return model


@pytest.mark.parametrize("rounding", [nearest_integers, learned_integers])
def test_a_reconstructed_network_is_on_the_grid_and_stays_near(network, rounding):
    images = np.random.default_rng(5).random((24, 32, 32, 1), np.float32)
    copy = folded(network)
    reconstruct(copy, images[:16], rounding)
    for layer in copy.layers:
        if isinstance(layer, WEIGHTED):
            kernel = layer.get_weights()[0].astype(np.float64)
            axes = (0, 1) if isinstance(layer, layers.DepthwiseConv2D) else tuple(range(kernel.ndim - 1))
            steps = kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127.0)
            assert np.abs(steps - np.round(steps)).max() < GRID_TOLERANCE
    difference = np.abs(np.asarray(copy(images)) - np.asarray(network(images)))
    assert 0.0 < difference.max() < 0.02
