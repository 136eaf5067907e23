"""One grey channel in place of three: the same answers, or the network is wrapped."""

from __future__ import annotations

import numpy as np
import pytest

from export.quiet import quiet_converters

with quiet_converters():
    import keras

    from export.convert import grey_network

CHANCE = np.random.default_rng(3)
IMAGES_U8 = CHANCE.integers(0, 256, (6, 16, 16), dtype=np.uint8)


def network(*layers) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = x = keras.Input((16, 16, 3))
    for layer in (*layers, keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")):
        x = layer(x)
    return keras.Model(image, x)


def test_the_first_kernel_is_summed_over_its_channels():
    trained = network(keras.layers.Rescaling(2.0, -1.0), keras.layers.Conv2D(4, 3, padding="same"))
    folded = grey_network.with_grey_input(trained, IMAGES_U8)
    assert [layer.name for layer in folded.layers[1:]] == [layer.name for layer in trained.layers[1:]]
    assert folded.layers[2].get_weights()[0].shape == (3, 3, 1, 4)
    answers = grey_network.float_probabilities(folded, IMAGES_U8)
    exact = grey_network.float_probabilities(trained, IMAGES_U8)
    assert np.abs(answers - exact).max() <= grey_network.FOLDING_TOLERANCE


def test_a_network_inside_a_network_is_wrapped():
    inner = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    wrapped = grey_network.with_grey_input(network(inner), IMAGES_U8)
    assert wrapped.inputs[0].shape == (None, 16, 16, 1)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("DepthwiseConv2D", {"kernel_size": 3}),  # a kernel for each channel: nothing to sum over
        ("Normalization", {"mean": [0.1, 0.5, 0.9], "variance": [0.1, 1.0, 9.0]}),
    ],
)
def test_a_network_that_cannot_be_folded_is_wrapped(kind, arguments):
    trained = network(getattr(keras.layers, kind)(**arguments), keras.layers.Conv2D(4, 3))
    wrapped = grey_network.with_grey_input(trained, IMAGES_U8)
    assert wrapped.inputs[0].shape == (None, 16, 16, 1)
    answers = grey_network.float_probabilities(wrapped, IMAGES_U8)
    exact = grey_network.float_probabilities(trained, IMAGES_U8)
    assert np.abs(answers - exact).max() <= grey_network.FOLDING_TOLERANCE
