"""Networks from random values start shallow: blocks beside a shortcut are silent, and nothing else is."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from train.fit.random_start import start_shallow  # noqa: E402
from train.networks.efficientnet_lite0 import build_efficientnet_lite0  # noqa: E402
from train.networks.mobilenetv2 import build_mobilenetv2  # noqa: E402


def _branch(tensor, name):
    return layers.BatchNormalization(name=name)(layers.Conv2D(3, 1)(tensor))


@pytest.mark.parametrize("block_first", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_a_block_that_is_added_to_its_input_is_silent(block_first, drop):
    image = keras.Input((8, 8, 3))
    block = _branch(layers.ReLU()(image), "block")
    summands = [image, layers.Dropout(0.2)(block) if drop else block]
    model = keras.Model(image, layers.Add()(summands[::-1] if block_first else summands))
    start_shallow(model)
    assert not model.get_layer("block").gamma.numpy().any()


def test_two_branches_that_are_added_keep_their_voices():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Add()([_branch(image, "one"), _branch(image, "other")]))
    start_shallow(model)
    for name in ("one", "other"):
        np.testing.assert_array_equal(model.get_layer(name).gamma, np.ones(3))


@pytest.mark.parametrize(("build", "residual_blocks"), [(build_mobilenetv2, 10), (build_efficientnet_lite0, 9)])
def test_every_residual_block_of_our_networks_starts_as_the_identity(build, residual_blocks):
    model = build(96, weights="none", head="pooled")
    start_shallow(model)
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    before_and_after = keras.Model(model.inputs[0], [(layer.input[0], layer.output) for layer in sums])
    pairs = before_and_after(np.random.default_rng(0).random((1, 96, 96, 3), np.float32), training=True)
    assert len(pairs) == residual_blocks
    for before, after in pairs:
        assert np.ptp(before) > 0
        np.testing.assert_array_equal(after, before)
