"""One measurement of ranges serves both formats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import numpy_helper

from export.inputs.calibration import CalibrationSet
from export.quantize.activation_ranges import LOGIT_REACH, least_squares_ranges, measure_ranges
from export.quiet import quiet_converters
from train.int8.range_rules import least_squares_range

with quiet_converters():
    import keras
    from keras import layers

    from export.convert.tensor_matching import match_tensors
    from export.convert.to_onnx import to_float_onnx
    from export.convert.to_tflite import to_float_tflite
    from export.quantize.int8_files import quantise_network


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(6)
    grey = keras.Input((24, 24, 1), name="grey")
    x = layers.ReLU(6.0)(layers.Conv2D(6, 3, padding="same")(grey))
    x = layers.Add()([layers.Conv2D(6, 1)(x), layers.Conv2D(6, 1)(x)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2)(x))
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid")(x))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([200 * kernel, bias])  # logits beyond any that a probability tells
    return model


@pytest.fixture(scope="module")
def calibration(tmp_path_factory) -> CalibrationSet:
    images_u8 = np.random.default_rng(0).integers(0, 256, (12, 24, 24), np.uint8)
    return CalibrationSet(tmp_path_factory.mktemp("none"), images_u8, (None,) * 12, (), (), False)


@pytest.mark.parametrize("rule", [measure_ranges, least_squares_ranges])
def test_tensors_have_the_same_scale_in_both_formats(network, calibration, rule):
    with quiet_converters():
        files = quantise_network(network, (".tflite", ".onnx"), calibration, rule)
    details = Interpreter(model_content=files[".tflite"]).get_tensor_details()
    of_tflite = {round(float(detail["quantization"][0]), 9) for detail in details}
    graph = onnx.load_from_string(files[".onnx"]).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    of_onnx = {round(float(constants[node.input[1]]), 9) for node in graph.node if node.op_type == "QuantizeLinear"}
    assert len(of_onnx) >= 5
    strangers = [scale for scale in of_onnx if min(abs(scale / other - 1) for other in of_tflite if other) > 1e-5]
    assert not strangers


def test_every_quantised_tensor_finds_its_match(network, calibration):
    with quiet_converters():
        float_onnx, float_tflite = to_float_onnx(network), to_float_tflite(network)
    pairs = match_tensors(float_onnx, float_tflite, next(calibration.inputs()))
    nodes = {output: node.op_type for node in onnx.load_from_string(float_onnx).graph.node for output in node.output}
    assert {nodes.get(name, "input") for name in pairs} >= {"Clip", "Add", "Conv"}


def test_a_logit_is_clipped_where_probabilities_hardly_move(network, calibration):
    with quiet_converters():
        float_tflite = to_float_tflite(network)
    ranges = measure_ranges(float_tflite, calibration.inputs)
    operators = Interpreter(model_content=float_tflite)._get_ops_details()
    (logit,) = next(one["inputs"] for one in operators if one["op_name"] == "LOGISTIC")
    assert max(np.abs(ranges[int(logit)])) == LOGIT_REACH


def test_long_tails_are_clipped_and_flat_values_are_not():
    rng = np.random.default_rng(0)
    tailed = np.concatenate([rng.normal(size=100_000), [40.0, -40.0]]).astype(np.float32)
    lowest, highest = least_squares_range(tailed)
    assert highest < 35 and lowest == pytest.approx(-highest)
    assert least_squares_range(rng.uniform(0, 6, 100_000).astype(np.float32)) == pytest.approx((0.0, 6.0), abs=0.02)
