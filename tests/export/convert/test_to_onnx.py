"""What TensorFlow has and the ONNX standard has not is written in its words."""

from __future__ import annotations

import numpy as np
import pytest

from export.quiet import quiet_converters

with quiet_converters():
    import keras
    import onnx
    import onnxruntime
    from keras import layers

    from export.convert.to_int8_onnx import to_int8_onnx
    from export.convert.to_onnx import to_float_onnx

IMAGE = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)


def test_exact_gelu_becomes_operators_of_the_standard():
    keras.utils.set_random_seed(3)
    grey = keras.Input((16, 16, 1), name="grey")
    x = layers.LayerNormalization()(layers.Conv2D(8, 4, strides=4)(grey))
    x = layers.Activation("gelu")(layers.Activation("gelu")(x))
    network = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    with quiet_converters():
        content = to_float_onnx(network)
    assert "Erfc" not in {node.op_type for node in onnx.load_from_string(content).graph.node}
    (answer,) = onnxruntime.InferenceSession(content).run(None, {"grey": IMAGE})
    np.testing.assert_allclose(answer, network.predict(IMAGE, verbose=0), atol=1e-6)


@pytest.mark.parametrize("shared_axes", [(1, 2), None])
def test_prelu_and_the_nearest_pixel_become_one_operator_each(shared_axes):
    keras.utils.set_random_seed(3)
    grey = keras.Input((16, 16, 1), name="grey")
    x = layers.PReLU(keras.initializers.RandomUniform(-0.5, 0.5), shared_axes=shared_axes)(layers.Conv2D(8, 3)(grey))
    x = layers.Resizing(28, 42, interpolation="nearest")(x)
    network = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalMaxPooling2D()(x)))
    with quiet_converters():
        content = to_float_onnx(network)
    graph = onnx.load_from_string(content).graph
    kinds = {node.op_type for node in graph.node}
    assert "PRelu" in kinds and not kinds & {"Relu", "Neg", "Add"}
    (nearest,) = [node for node in graph.node if node.op_type == "Resize"]
    assert b"tf_half_pixel_for_nn" not in {attribute.s for attribute in nearest.attribute}  # out of date: it warns
    assert {name for node in graph.node for name in node.input} >= {tensor.name for tensor in graph.initializer}
    (answer,) = onnxruntime.InferenceSession(content).run(None, {"grey": IMAGE})
    np.testing.assert_allclose(answer, network.predict(IMAGE, verbose=0), atol=1e-6)


def test_weights_that_several_operators_share_load_on_processors_without_vnni():
    keras.utils.set_random_seed(3)
    grey = keras.Input((16, 16, 1), name="grey")
    weights, x = None, layers.Conv2D(4, 3, activation="relu")(grey)
    for _ in range(3):
        layer = layers.Conv2D(4, 3, padding="same", activation="relu")
        x = layer(x)
        weights = weights or layer.get_weights()
        layer.set_weights(weights)
    network = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    with quiet_converters():
        float_onnx = to_float_onnx(network)
        content = to_int8_onnx(float_onnx, lambda: iter([IMAGE]))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # as edge-infer has it there
    session = onnxruntime.InferenceSession(content, options)
    (answer,) = session.run(None, {"grey": np.rint(IMAGE * 255 - 128).astype(np.int8)})
    (expected,) = onnxruntime.InferenceSession(float_onnx).run(None, {"grey": IMAGE})
    np.testing.assert_allclose(answer, expected, atol=0.02)
