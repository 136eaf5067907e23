"""Ranges are those of each tensor alone, also where an engine would let two tensors share their memory."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from export.quantize.activation_ranges import (
    HARD_SWISH_BEGINS,
    least_squares_ranges,
    measure_ranges,
    percentile_ranges,
)
from export.quiet import quiet_converters

with quiet_converters():
    import keras

    from export.convert.to_tflite import to_float_tflite
    from train.int8.batchnorm_folding import ConstantPadding


def test_an_operator_that_could_work_in_place_does_not_widen_the_range_of_its_input():
    grey = keras.Input((16, 16, 1), name="grey")
    x = keras.layers.Rescaling(2.0, -1.0)(grey)  # a product, 0 to 2, then a sum, -1 to 1, before zeros are added around
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, padding="same")(x))
    with quiet_converters():
        content = to_float_tflite(keras.Model(grey, keras.layers.Dense(1, activation="sigmoid")(x)))
    image = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 16, 16, 1)
    ranges = measure_ranges(content, lambda: iter([image, image]))
    operators = Interpreter(model_content=content)._get_ops_details()
    outputs = {operator["op_name"]: ranges[int(operator["outputs"][0])] for operator in operators[:2]}
    assert outputs == {"MUL": (0.0, 2.0), "ADD": (-1.0, 1.0)}
    assert ranges[int(operators[0]["inputs"][0])] == (0.0, 1.0)


def test_rare_values_are_clipped_by_percentile_and_by_least_squares_ranges():
    grey = keras.Input((64, 64, 1), name="grey")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(1, 1, use_bias=False, name="copy")(grey))
    network = keras.Model(grey, keras.layers.Dense(1, activation="sigmoid")(x))
    network.get_layer("copy").set_weights([np.full((1, 1, 1, 1), 100.0)])
    with quiet_converters():
        content = to_float_tflite(network)
    image = np.random.default_rng(0).uniform(0.0, 0.1, (1, 64, 64, 1)).astype(np.float32)
    spike = image.copy()
    spike[0, 0, 0, 0] = 1.0  # one value in 40,960 among ten images
    (convolution, *_) = Interpreter(model_content=content)._get_ops_details()
    output = int(convolution["outputs"][0])

    def highest(rule) -> float:
        return rule(content, lambda: iter([spike] + [image] * 9))[output][1]

    assert highest(measure_ranges) == pytest.approx(100.0)
    assert highest(percentile_ranges) == pytest.approx(10.0, abs=0.1)
    assert 10.0 < highest(least_squares_ranges) < 100.0


@pytest.mark.parametrize("rule", [percentile_ranges, least_squares_ranges])
def test_the_input_keeps_its_range_behind_a_border_though_bright_pixels_are_rare(rule):
    grey = keras.Input((32, 32, 1), name="grey")
    x = ConstantPadding(((1, 1), (1, 1)), 0.5, name="border")(grey)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(x))
    with quiet_converters():
        content = to_float_tflite(keras.Model(grey, keras.layers.Dense(1, activation="sigmoid")(x)))
    image = np.full((1, 32, 32, 1), 0.1, np.float32)
    ends = image.copy()
    ends[0, 0, 0, 0], ends[0, 0, 1, 0] = 0.0, 1.0
    ranges = rule(content, lambda: iter([ends] + [image] * 30))
    padding, *_ = Interpreter(model_content=content)._get_ops_details()
    assert padding["op_name"] == "PADV2"
    assert ranges[int(padding["inputs"][0])] == ranges[int(padding["outputs"][0])] == (0.0, 1.0)


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_hard_swish_alone_reads_is_covered_from_where_it_begins(alone):
    grey = keras.Input((8, 8, 1), name="grey")
    convolution = keras.layers.Conv2D(2, 1, name="spread")
    spread = convolution(grey)
    x = keras.layers.Activation("hard_silu")(spread)
    x = x if alone else keras.layers.Concatenate()([x, spread])
    network = keras.Model(grey, keras.layers.Dense(1, activation="sigmoid")(keras.layers.GlobalAveragePooling2D()(x)))
    convolution.set_weights([np.array([[[[20.0, 4.0]]]]), np.array([-10.0, -2.0])])
    with quiet_converters():
        content = to_float_tflite(network)
    images = [np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1)] * 2
    (first, *_) = Interpreter(model_content=content)._get_ops_details()
    output = int(first["outputs"][0])
    begin = HARD_SWISH_BEGINS if alone else -10.0
    assert measure_ranges(content, lambda: iter(images))[output] == (begin, 10.0)
    assert begin <= least_squares_ranges(content, lambda: iter(images))[output][0] < 0
