"""What TensorFlow has and the ONNX standard has not is written in its words."""

from __future__ import annotations

import numpy as np

from export.quiet import quiet_converters

with quiet_converters():
    import keras
    import onnx
    import onnxruntime
    from keras import layers

    from export.convert.to_onnx import to_float_onnx


def test_exact_gelu_becomes_operators_of_the_standard():
    keras.utils.set_random_seed(3)
    grey = keras.Input((16, 16, 1), name="grey")
    x = layers.LayerNormalization()(layers.Conv2D(8, 4, strides=4)(grey))
    x = layers.Activation("gelu")(layers.Activation("gelu")(x))
    network = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    with quiet_converters():
        content = to_float_onnx(network)
    assert "Erfc" not in {node.op_type for node in onnx.load_from_string(content).graph.node}
    image = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    (answer,) = onnxruntime.InferenceSession(content).run(None, {"grey": image})
    np.testing.assert_allclose(answer, network.predict(image, verbose=0), atol=1e-6)
