"""Copies of channels: the same function in float, half the step in int8, and only where they pay and fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.inputs.calibration import CalibrationSet
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from ai_edge_litert.interpreter import Interpreter
    from keras import layers

    from export.convert.complexity import operations
    from export.convert.grey_network import as_input
    from export.quantize.activation_ranges import LOGIT_REACH, measure_ranges
    from export.quantize.channel_duplication import choose_copies, costs_with, shifts_of, with_copies
    from export.quantize.int8_files import quantise_network
    from export.quantize.logit_duplication import COPIES, ends_with_one_sigmoid, logit_reach, with_duplicated_logit
    from export.quantize.sensitivity import logit_changes
    from train.int8.fake_quant import FakeInt8, put_on_grid
    from train.int8.keras_graph import run_layers
    from train.int8.layer_ranges import layer_ranges

SIDE = 16


@pytest.fixture
def images_u8() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (24, SIDE, SIDE), np.uint8)


@pytest.fixture
def network() -> keras.Model:
    """Two bottlenecks joined by an addition, as MobileNetV2 has them."""
    keras.utils.set_random_seed(3)
    grey = keras.Input((SIDE, SIDE, 1), name="grey")
    x = layers.ReLU(6.0, name="first_relu")(layers.Conv2D(4, 3, strides=2, padding="same", name="first")(grey))
    narrow = layers.Conv2D(3, 1, name="narrow")(x)
    x = layers.ReLU(6.0, name="wide_relu")(layers.Conv2D(8, 1, name="wide")(narrow))
    x = layers.ZeroPadding2D(1, name="border")(x)
    x = layers.ReLU(6.0, name="deep_relu")(layers.DepthwiseConv2D(3, name="deep")(x))
    x = layers.Add(name="sum")([narrow, layers.Conv2D(3, 1, name="again_narrow")(x)])
    x = layers.ReLU(6.0, name="last_relu")(layers.Conv2D(8, 1, name="last")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid", name="probability")(x))
    rng = np.random.default_rng(4)
    for layer in model.layers:
        if layer.get_weights():
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
    return model


TIED = (
    {"first", "first_relu"},
    {"narrow", "again_narrow", "sum"},
    {"wide", "wide_relu", "border", "deep", "deep_relu"},
    {"last", "last_relu", "mean"},
)


def copies_of(*groups: set[str], times: int = 2) -> dict[str, int]:
    return {name: times for group in groups for name in group}


@pytest.mark.parametrize("groups", [TIED[:1], TIED[1:2], TIED[2:], TIED[1:3], TIED])
@pytest.mark.parametrize("times", [2, 4])
def test_copies_do_not_change_the_function(network, images_u8, groups, times):
    images = as_input(images_u8)
    steps = dict.fromkeys([layer.name for layer in network.layers], 0.0)
    finer = with_copies(network, copies_of(*groups, times=times), steps)
    assert finer.predict(images, verbose=0) == pytest.approx(network.predict(images, verbose=0), abs=1e-6)
    assert operations(finer) == costs_with(network, copies_of(*groups, times=times))[0] > operations(network)


@pytest.mark.parametrize("times", [2, 4])
def test_the_mean_of_staggered_values_moves_in_a_fraction_of_the_step_and_keeps_zero(times):
    values = np.maximum(np.linspace(-3.0, 20.0, 4001), 0.0)
    copies = np.round(np.maximum(np.linspace(-3.0, 20.0, 4001) + shifts_of(times)[:, None], 0.0))
    assert np.abs(copies.mean(axis=0) - values).max() <= 0.5 / times + 1e-9
    assert np.all(copies.mean(axis=0)[:500] == 0.0)


def test_int8_with_copies_is_closer_to_the_network(network, images_u8):
    """With kernels on the grid only the rounding of tensors is left, and all are copied here."""
    put_on_grid(network)
    calibration = CalibrationSet(Path("none"), images_u8, (None,) * len(images_u8), (), (), True)
    images = as_input(images_u8)
    ranges = layer_ranges(network, images)
    finer = with_copies(
        network, copies_of(*TIED, times=4), {n: (high - low) / 255 for n, (low, high) in ranges.items()}
    )
    exact = network.predict(images, verbose=0)[:, 0]

    def error(model: keras.Model) -> float:
        with quiet_converters():
            content = quantise_network(model, (".onnx",), calibration, measure_ranges)[".onnx"]
        return float(np.sqrt(np.mean((onnx_answers(content, images_u8) - exact) ** 2)))

    assert error(finer) < 0.5 * error(network)


def test_copies_go_where_they_take_most_noise_for_their_operations(network):
    operations, weights = costs_with(network, {})
    noise = {"narrow": 1.0, "first_relu": 1e-6, "deep_relu": 1e-6}
    loudest = choose_copies(network, noise, 1.6 * operations, 3.0 * weights)
    assert set(loudest) == TIED[1] and set(loudest.values()) <= {2, 4, 8}
    assert choose_copies(network, {"narrow": 1.0}, operations, 3.0 * weights) == {}
    assert choose_copies(network, {"narrow": 1.0}, 9.0 * operations, weights) == {}
    assert choose_copies(network, {}, 9.0 * operations, 9.0 * weights) == {}


def test_costs_stay_within_what_is_allowed(network):
    noise = dict.fromkeys([layer.name for layer in network.layers], 1.0)
    plain = costs_with(network, {})
    for most in (1.2, 2.0, 4.0):
        copies = choose_copies(network, noise, most * plain[0], most * plain[1])
        operations_now, weights_now = costs_with(network, copies)
        assert copies and operations_now <= most * plain[0] and weights_now <= most * plain[1]


def test_what_a_flattened_dense_layer_reads_and_the_answer_are_not_copied():
    grey = keras.Input((8, 8, 1))
    x = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(4, 3, activation="relu", name="convolution")(grey))
    x = layers.Dense(4, activation="relu", name="hidden")(layers.Flatten(name="flat")(x))
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid", name="probability")(x))
    noise = dict.fromkeys([layer.name for layer in model.layers], 1.0)
    assert set(choose_copies(model, noise, 1e9, 1e9)) == {"hidden"}


def test_layers_that_mix_no_channels_or_bend_a_shift_are_left_alone(images_u8):
    """Grouped, multiplying and curved layers keep one copy; a layer without bias gets one for its copies."""
    keras.utils.set_random_seed(5)
    grey = keras.Input((SIDE, SIDE, 1), name="grey")
    x = layers.Conv2D(4, 3, name="grouped_input")(grey)
    x = layers.Conv2D(4, 3, groups=2, name="grouped")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="multiplying")(x)
    x = layers.Conv2D(4, 1, activation="swish", name="curved")(x)
    x = layers.Conv2D(4, 1, use_bias=False, name="plain")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid", use_bias=False, name="probability")(x))
    copies = choose_copies(model, dict.fromkeys([layer.name for layer in model.layers], 1.0), 1e9, 1e9)
    assert set(copies) == {"plain", "mean"}
    finer = with_copies(model, copies, dict.fromkeys(copies, 0.0))
    images = as_input(images_u8)
    assert finer.predict(images, verbose=0) == pytest.approx(model.predict(images, verbose=0), abs=1e-6)


def test_sensitivity_is_what_rounding_a_tensor_alone_changes(network, images_u8):
    images = as_input(images_u8)
    ranges = layer_ranges(network, images)
    found = logit_changes(network, images, ranges)
    assert set(found) == set(ranges) and "narrow" in ranges and "wide" not in ranges

    def logits(rounded: str | None) -> np.ndarray:
        def make(layer, inputs):
            output = layer(inputs if len(inputs) > 1 else inputs[0])
            return FakeInt8(ranges[rounded])(output) if layer.name == rounded else output

        probability = run_layers(network, network.inputs[0], network.inputs[0], make)
        answers = keras.Model(network.inputs[0], probability).predict(images, verbose=0)[:, 0].astype(np.float64)
        return np.log(answers / (1 - answers))

    exact = logits(None)
    for name, changes in found.items():
        measured = logits(name) - exact
        assert np.std(changes - measured) < 0.25 * np.std(measured) + 2e-6, name


def test_a_fine_logit_is_the_same_function_in_steps_of_the_output(network, images_u8):
    images = as_input(images_u8)
    fine = with_duplicated_logit(network, reach=LOGIT_REACH)
    step = 2 * LOGIT_REACH / 255
    # The copies are shifted by up to 3/8 of a step of the logit; their mean differs by the curve of the sigmoid alone.
    assert fine.predict(images, verbose=0) == pytest.approx(network.predict(images, verbose=0), abs=step**2)
    calibration = CalibrationSet(Path("none"), images_u8, (None,) * len(images_u8), (), (), True)
    with quiet_converters():
        content = quantise_network(network, (".tflite",), calibration, measure_ranges)[".tflite"]
    details = Interpreter(model_content=content).get_output_details()[0]
    assert details["quantization"][0] == pytest.approx(1 / 255) and details["quantization"][1] == -128
    shapes = [tuple(detail["shape"]) for detail in Interpreter(model_content=content).get_tensor_details()]
    assert (1, COPIES) in shapes


def test_the_logit_reaches_as_far_as_it_was_seen_and_no_further_than_probabilities_tell(network, images_u8):
    images = as_input(images_u8)
    answers = network.predict(images, verbose=0)[:, 0].astype(np.float64)
    largest = np.abs(np.log(answers / (1 - answers))).max()
    assert largest < logit_reach(network, images) < 1.5 * largest
    head = network.layers[-1]
    head.set_weights([weights * 1e4 for weights in head.get_weights()])
    assert logit_reach(network, images) == LOGIT_REACH


def test_a_network_with_another_end_is_told(network):
    assert ends_with_one_sigmoid(network)
    assert not ends_with_one_sigmoid(keras.Model(network.inputs[0], network.get_layer("mean").output))


def onnx_answers(content: bytes, images_u8: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = (images_u8.astype(np.int16) - 128).astype(np.int8)[:, np.newaxis, ..., np.newaxis]
    return np.array([session.run(None, {"grey": image})[0].item() for image in inputs])
