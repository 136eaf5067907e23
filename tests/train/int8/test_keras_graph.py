"""Flat networks are walked and rebuilt through one file, which alone knows how Keras keeps its graph."""

import re
from pathlib import Path

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from edge_runtime.errors import ModelError  # noqa: E402
from train.int8.keras_graph import (  # noqa: E402
    again,
    call,
    followers,
    layers_above,
    layers_below,
    layers_in_order,
    rebuild,
    run_layers,
    writer,
)

REPOSITORY = Path(__file__).parents[3]
PRIVATE = re.compile(r"\._(inbound_nodes|outbound_nodes|keras_history|nodes|nodes_by_depth|operations|functional)\b")


@pytest.fixture
def network():
    """Two branches of one convolution, joined again."""
    image = keras.Input((8, 8, 1), name="image")
    base = layers.Conv2D(2, 3, padding="same", name="base")(image)
    joined = layers.Add(name="joined")([layers.ReLU(name="left")(base), layers.Conv2D(2, 1, name="right")(base)])
    return keras.Model(image, layers.GlobalAveragePooling2D(name="mean")(joined))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 8, 8, 1), np.float32)


def names(found):
    return [layer.name for layer in found]


def test_no_other_file_touches_what_keras_keeps_private():
    files = [
        file
        for room in ("train", "export", "benchmarks", "tools", "tests")
        for file in (REPOSITORY / room).rglob("*.py")
    ]
    touching = {str(file.relative_to(REPOSITORY)) for file in files if PRIVATE.search(file.read_text())}
    assert touching == {"train/int8/keras_graph.py"}


def test_a_rebuilt_network_answers_alike_with_layers_of_its_own(network, images):
    copy = rebuild(network, again)
    np.testing.assert_array_equal(copy.predict_on_batch(images), network.predict_on_batch(images))
    before = copy.predict_on_batch(images)
    network.get_layer("base").set_weights([weights + 1.0 for weights in network.get_layer("base").get_weights()])
    np.testing.assert_array_equal(copy.predict_on_batch(images), before)


def test_every_output_of_a_network_is_rebuilt(network, images):
    both = keras.Model(network.inputs[0], [network.get_layer("left").output, network.outputs[0]])
    for found, expected in zip(rebuild(both, again)(images), both(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_layer_used_twice_is_refused():
    shared, image = layers.ReLU(), keras.Input((4,))
    with pytest.raises(ModelError, match="flat network"):
        rebuild(keras.Model(image, shared(layers.Dense(4)(shared(image)))), again)


def test_a_network_runs_on_from_a_tensor_inside_it(network, images):
    start = network.get_layer("base").output
    entry = keras.Input(start.shape[1:])
    upper = keras.Model(entry, run_layers(network, start, entry, call))
    features = keras.Model(network.inputs[0], start).predict_on_batch(images)
    np.testing.assert_array_equal(upper.predict_on_batch(features), network.predict_on_batch(images))


def test_neighbours_are_found_in_both_directions(network):
    assert names(layers_in_order(network))[0] == "image" and names(layers_in_order(network))[-1] == "mean"
    assert names(layers_below(network.get_layer("joined"))) == ["left", "right"]
    assert layers_below(network.get_layer("image")) == []
    assert sorted(names(followers(network)["base"])) == ["left", "right"]
    assert sorted(names(layers_above(network.get_layer("base")))) == ["left", "right"]
    assert writer(network.outputs[0]).name == "mean"
