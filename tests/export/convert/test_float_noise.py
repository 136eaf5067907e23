"""Float files may differ by what float32 rounding does to the network, in whatever order it sums, and by no more."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import GateError
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from export.quiet import quiet_converters
from train.phantom import draw

with quiet_converters():
    import keras
    from keras import layers

    from export.convert import grey_network, model_files
    from export.convert.float_noise import float32_noise
    from export.parity import measures
    from train.networks.cnn import build_cnn
    from train.networks.mobilenetv2 import build_mobilenetv2

SIDE = 64
SPEC = ModelSpec("made up", SIDE, "stretch", "box", ("not fractured", "fractured"), 0.5, "phantom")
IMAGES_U8 = np.stack([preprocess(draw(8, index, index % 2).image_u8, SPEC) for index in range(16)])
HIGHEST = 1e-3  # of a tolerance: a network that needs more could not be told from a changed one


def averaging() -> keras.Model:
    """One mean over 4096 pixels, steeply judged: engines that add them in turn are 1.7e-5 from exact arithmetic."""
    image = keras.Input((SIDE, SIDE, 1))
    mean = layers.GlobalAveragePooling2D()(layers.Conv2D(1, 1)(image))
    network = keras.Model(image, layers.Dense(1, activation="sigmoid")(mean))
    network.layers[1].set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    network.layers[-1].set_weights([np.array([[8.0]]), np.array([-4.0])])
    return network


def small(build, **options) -> keras.Model:
    keras.utils.set_random_seed(4)
    network = build(SIDE, **options)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):  # as training leaves it: signals do not vanish
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.full_like(variance, 0.1)])
    head = network.get_layer("probability")
    kernel, _ = head.get_weights()
    images = grey_network.as_input(IMAGES_U8).repeat(3, -1)
    logits = keras.Model(network.inputs, head.input).predict(images, verbose=0) @ kernel
    head.set_weights([kernel / logits.std(), -np.array([logits.mean() / logits.std()])])
    return network


NETWORKS = {
    "averaging": averaging,
    "cnn": lambda: small(build_cnn),
    "mobilenetv2": lambda: small(build_mobilenetv2, alpha=0.35, weights="none"),
}


@pytest.fixture(scope="module", params=["averaging", "cnn", pytest.param("mobilenetv2", marks=pytest.mark.slow)])
def network(request) -> keras.Model:
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def answers(network) -> measures.EvaluationSet:
    """What files of the network are held to."""
    given = grey_network.float_probabilities(network, IMAGES_U8)
    return measures.EvaluationSet("made up", IMAGES_U8, None, given, rounding=float32_noise(network, IMAGES_U8))


def measured(converted: keras.Model, images: measures.EvaluationSet, folder) -> measures.Parity:
    """The float files of a network beside answers."""
    with quiet_converters():
        floats = model_files.convert_to_float(grey_network.with_grey_input(converted, IMAGES_U8), (".tflite", ".onnx"))
        return measures.measure(model_files.write_files(folder, "float32", floats, SPEC).items(), images)


def test_files_of_the_same_weights_are_taken(network, answers, tmp_path):
    found = measured(network, answers, tmp_path)
    measures.require_float_agreement(found)
    assert found.float_tolerance < HIGHEST


def test_one_weight_off_by_a_hundredth_is_refused(network, answers, tmp_path):
    changed = keras.models.clone_model(network)
    changed.set_weights(network.get_weights())
    first = next(layer for layer in changed.layers if layer.get_weights())
    kernel, *others = first.get_weights()
    place = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    kernel[place] *= 1.01
    first.set_weights([kernel, *others])
    found = measured(changed, answers, tmp_path)
    with pytest.raises(GateError, match="of image .* at most .* was expected"):
        measures.require_float_agreement(found)


def test_a_network_that_amplifies_nothing_gets_no_more_than_the_least():
    image = keras.Input((SIDE, SIDE, 1))
    strongest = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(image))
    network = keras.Model(image, layers.Dense(1, activation="sigmoid")(strongest))
    assert 0 < measures.ROUNDING_FACTOR * float32_noise(network, IMAGES_U8) < measures.FLOAT_TOLERANCE
