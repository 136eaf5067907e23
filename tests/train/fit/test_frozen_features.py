"""Features of the frozen part are those of Keras, computed by LiteRT and kept in half precision."""

import numpy as np

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from train.fit.consistency import measure_bounds, rounded_like_int8  # noqa: E402
from train.fit.frozen_features import FrozenPart, create_features, fill, open_features, shapes_of  # noqa: E402
from train.networks.cnn import build_cnn  # noqa: E402

FLOAT16_TOLERANCE = 2**-10  # of the value: half a step of float16 is 2^-11, LiteRT's own sums add as much at most


def test_every_image_has_the_features_that_keras_gives_it(tmp_path):
    model = build_cnn(32)
    images = np.random.default_rng(0).random((5, 32, 32, 3), np.float32)
    tensors = {name: model.get_layer(name).output for name in ("pool_1", "pool_2")}
    parts = [FrozenPart(model.inputs[0], {name: tensor}) for name, tensor in tensors.items()]
    features = create_features(tmp_path, shapes_of(parts) | {"beside": (2,)}, 7)
    used = [(part, np.ones(7, bool)) for part in parts]
    used[1][1][3] = False
    beside, done = np.arange(10, dtype=np.float32).reshape(5, 2), []
    behind = fill(
        used, tf.data.Dataset.from_tensor_slices((images, beside)).batch(2), features, "beside", 1, done.append
    )
    assert behind == 6 and done == [3, 5, 6]
    for array in features.values():
        array.flush()
    found, expected = open_features(tmp_path), keras.Model(model.inputs[0], tensors).predict_on_batch(images)
    np.testing.assert_array_equal(found.pop("beside")[1:6], beside)
    assert set(found) == set(tensors)
    assert not found["pool_2"][3].any()  # read by nobody
    expected["pool_2"][2] = 0
    for name, array in found.items():
        np.testing.assert_allclose(array[1:6], expected[name], rtol=FLOAT16_TOLERANCE, atol=1e-4)
        assert not array[0].any() and not array[6].any()


def test_in_int8_features_are_those_of_rounded_tensors(mobilenetv2, images, tmp_path):
    seam = "block_3_depthwise_relu"
    (rounded,) = rounded_like_int8(mobilenetv2, [seam], measure_bounds(mobilenetv2, seam, images))
    expected = keras.Model(mobilenetv2.inputs, rounded).predict_on_batch(images)
    exact = keras.Model(mobilenetv2.inputs, mobilenetv2.get_layer(seam).output).predict_on_batch(images)
    part = FrozenPart(mobilenetv2.inputs[0], {"seam": rounded}, int8=True)
    found = np.concatenate([part.run(image)["seam"] for image in images])
    # Sums of integers round at other places than sums of rounded floats, so steps differ here and there.
    assert np.abs(found - expected).mean() < np.abs(exact - expected).mean()
    assert len(np.unique(found)) <= 256
