"""Channels fill the range of their tensor, and the network answers as before."""

import numpy as np

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.int8.equalisation import equalise  # noqa: E402


def test_equalised_channels_answer_alike_and_fill_their_range(mobilenetv2, images):
    names = ["block_2_add", "block_1_expand_relu"]
    tensors = keras.Model(mobilenetv2.inputs, [mobilenetv2.get_layer(name).output for name in names])

    def spread():
        largest = [np.abs(values).max(axis=(0, 1, 2)) for values in tensors.predict_on_batch(images)]
        return [float(np.median(values) / values.max()) for values in largest]

    judge = keras.Model(mobilenetv2.inputs, mobilenetv2.outputs[0])
    answers, before = judge.predict_on_batch(images), spread()
    equalise(mobilenetv2, images)
    np.testing.assert_allclose(judge.predict_on_batch(images), answers, atol=1e-4)
    assert all(after > earlier for after, earlier in zip(spread(), before, strict=True))


def test_channels_of_a_convolution_without_limit_are_left_alone():
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Conv2D(3, 3, activation="relu")(image)
    model = keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(hidden)))
    before = model.get_weights()
    equalise(model, np.random.default_rng(0).random((4, 8, 8, 1), np.float32))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
