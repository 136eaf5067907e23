"""Weights on the int8 grid, channels that fill their range, and networks that learn from pairs."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.fit.consistency import measure_bounds, pair_from, rounded_like_int8  # noqa: E402
from train.int8.equalisation import equalise  # noqa: E402
from train.int8.fake_quant import WEIGHTED, is_rounded, put_on_grid, with_kernels_on_grid  # noqa: E402
from train.models import NETWORKS  # noqa: E402
from train.networks.cnn import build_cnn  # noqa: E402
from train.networks.mobilenetv2 import build_mobilenetv2  # noqa: E402

GRID_TOLERANCE = 1e-4  # of a step: float32 holds 127 steps to about 1e-5 of one
SEAM = "pool"


@pytest.fixture
def mobilenetv2():
    keras.utils.set_random_seed(3)
    model = build_mobilenetv2(64, 0.35, "none")
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            channels = rng.uniform(0.2, 3.0, (2, gamma.size))
            layer.set_weights(
                [gamma * channels[0], beta + rng.normal(0, 0.5, gamma.size), mean, variance * channels[1]]
            )
    return model


@pytest.fixture
def images():
    grey = np.random.default_rng(4).random((6, 64, 64, 1), np.float32)
    return np.repeat(grey, 3, axis=-1)


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


def test_equalised_channels_answer_alike_and_fill_their_range(mobilenetv2, images):
    names = ["block_2_add", "block_1_expand_relu"]
    tensors = keras.Model(mobilenetv2.inputs, [mobilenetv2.get_layer(name).output for name in names])

    def spread():
        largest = [np.abs(values).max(axis=(0, 1, 2)) for values in tensors.predict_on_batch(images)]
        return [float(np.median(values) / values.max()) for values in largest]

    answers, before = mobilenetv2.predict_on_batch(images), spread()
    equalise(mobilenetv2, images)
    np.testing.assert_allclose(mobilenetv2.predict_on_batch(images), answers, atol=1e-4)
    assert all(after > earlier for after, earlier in zip(spread(), before, strict=True))


def test_rounded_features_differ_from_the_exact_by_rounding_alone(mobilenetv2, images):
    bounds = measure_bounds(mobilenetv2, SEAM, images)
    assert set(bounds) == {layer.name for layer in mobilenetv2.layers if is_rounded(layer)} - {"probability"}
    (rounded,) = rounded_like_int8(mobilenetv2, [SEAM], bounds)
    both = keras.Model(mobilenetv2.inputs, [mobilenetv2.get_layer(SEAM).output, rounded])
    exact, rounded = both.predict_on_batch(images)
    lowest, highest = bounds[SEAM]
    step = (highest - min(lowest, 0.0)) / 255.0
    assert 0.0 < np.abs(exact - rounded).mean() < 20 * step
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-3)


@pytest.mark.parametrize("seam", [SEAM, NETWORKS["mobilenetv2"].cut])
def test_a_pair_answers_as_its_network_and_its_loss_knows_the_disagreement(mobilenetv2, images, seam):
    mobilenetv2.get_layer("probability").trainable = True
    features = keras.Model(mobilenetv2.inputs, mobilenetv2.get_layer(seam).output).predict_on_batch(images)
    put_on_grid(mobilenetv2)
    features = keras.Model(mobilenetv2.inputs, mobilenetv2.get_layer(seam).output).predict_on_batch(images)
    pair = pair_from(mobilenetv2, seam)
    np.testing.assert_allclose(pair.exact(features), mobilenetv2.predict_on_batch(images), atol=1e-5)

    def penalty(other):
        pair.training([features, other])
        return float(sum(pair.training.losses))

    assert penalty(features) < penalty(features + 1.0)
