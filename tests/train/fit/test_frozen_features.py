"""Features of the frozen part are those of Keras, computed by LiteRT and kept in half precision."""

import numpy as np

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from train.fit.frozen_features import FrozenPart, create_features, open_features  # noqa: E402
from train.networks.cnn import build_cnn  # noqa: E402

FLOAT16_TOLERANCE = 2**-10  # of the value: half a step of float16 is 2^-11, LiteRT's own sums add as much at most


def test_every_image_has_the_features_that_keras_gives_it(tmp_path):
    model = build_cnn(32)
    images = np.random.default_rng(0).random((5, 32, 32, 3), np.float32)
    tensors = {name: model.get_layer(name).output for name in ("pool_1", "pool_2")}
    part = FrozenPart(model.inputs[0], tensors)
    features = create_features(tmp_path, part, 7)
    done = []
    behind = part.fill(tf.data.Dataset.from_tensor_slices(images).batch(2), features, 1, done.append)
    assert behind == 6 and done == [3, 5, 6]
    for array in features.values():
        array.flush()
    found, expected = open_features(tmp_path), keras.Model(model.inputs[0], tensors).predict_on_batch(images)
    assert set(found) == set(tensors)
    for name, array in found.items():
        np.testing.assert_allclose(array[1:6], expected[name], rtol=FLOAT16_TOLERANCE, atol=1e-4)
        assert not array[0].any() and not array[6].any()
