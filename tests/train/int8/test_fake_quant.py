"""Weights land on the int8 grid, and train through its rounding."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.int8.fake_quant import put_on_grid, with_kernels_on_grid  # noqa: E402
from train.int8.layer_kinds import WEIGHTED  # noqa: E402
from train.networks.cnn import build_cnn  # noqa: E402
from train.networks.mobilenetv2 import build_mobilenetv2  # noqa: E402

GRID_TOLERANCE = 1e-4  # of a step: float32 holds 127 steps to about 1e-5 of one


def steps(layer, kernel):
    """The kernel in units of the scale of each of its output channels."""
    axes = (0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else tuple(range(kernel.ndim - 1))
    return kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127.0)


@pytest.mark.parametrize("build", [lambda: build_cnn(32), lambda: build_mobilenetv2(64, 0.35, "none")])
def test_every_kernel_lands_on_integers(build):
    model = build()
    put_on_grid(model)
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel = layer.get_weights()[0].astype(np.float64)
            if layer.name in ("Conv1", "conv_1"):  # meets three equal channels: their sum is what is deployed
                kernel = kernel.sum(axis=-2, keepdims=True)
            found = steps(layer, kernel)
            assert np.abs(found - np.round(found)).max() < GRID_TOLERANCE, layer.name


def test_moving_to_the_grid_twice_changes_nothing_more():
    model = build_cnn(32)
    put_on_grid(model)
    before = model.get_weights()
    put_on_grid(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-7)


def test_training_on_the_grid_moves_the_weights_behind_it():
    model = build_cnn(32)
    trained = with_kernels_on_grid(model)
    before = model.get_weights()
    trained.compile("sgd", "binary_crossentropy")
    trained.fit(np.random.default_rng(0).random((4, 32, 32, 3)), np.array([0, 1, 0, 1]), verbose=0)
    assert all(np.any(one != other) for one, other in zip(before, model.get_weights(), strict=True))


def test_the_twin_on_the_grid_answers_as_the_network_put_there(images):
    model = build_cnn(64)
    twin = with_kernels_on_grid(model)(images)
    put_on_grid(model)
    np.testing.assert_allclose(twin, model(images), atol=1e-6)
