"""A network as a float `.tflite` file."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from ai_edge_litert.interpreter import Interpreter
    from keras import layers

    from edge_runtime.engines.tflite_file import SIGNATURE
    from export.convert.to_tflite import to_float_tflite, to_int8_tflite

SIDE = 16


def test_swish_which_brings_its_own_gradient_leaves_the_names_of_the_ends():
    start = keras.Input((SIDE, SIDE, 1), name="grey")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="swish")(start))
    model = keras.Model(start, layers.Dense(1, activation="sigmoid", name="probability")(x))
    with quiet_converters():
        runner = Interpreter(model_content=to_float_tflite(model)).get_signature_runner(SIGNATURE)
    image = np.random.default_rng(1).random((1, SIDE, SIDE, 1), np.float32)
    assert np.allclose(runner(grey=image)["probability"], model(image), atol=1e-6)


def test_what_a_converter_says_becomes_one_line_of_bearable_length():
    with quiet_converters(), pytest.raises(ModelError) as refused:
        to_int8_tflite(b"no model at all" * 100, {})
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
