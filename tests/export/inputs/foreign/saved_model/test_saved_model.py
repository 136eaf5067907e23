"""SavedModels become the same network as their `.keras` file, proven on the graph itself, and run nothing of theirs."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge_runtime.errors import DataError, ModelError
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    import tensorflow as tf
    from keras import layers

    from export.inputs.foreign.archive import input_side, model_sha256
    from export.inputs.foreign.reading import PROOF_TOLERANCE, prepare
    from export.inputs.foreign.saved_model import translation
    from export.inputs.foreign.saved_model.operations import LAYERS
    from export.inputs.run_reader import side_of
    from train.int8.keras_graph import layers_in_order

SIDE = 24
GREY = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 1)) / 255.0
FLOAT32_TOLERANCE = 1e-5  # between Keras in float32 and the proof in float64


def saved(made, folder):
    """A SavedModel whose functions this process does not know, as it does those that it saved itself."""
    if isinstance(made, keras.Model):
        made.export(folder, verbose=False)
    else:
        tf.saved_model.save(made, folder, signatures={"serving_default": made.__call__})
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"__inference_", b"__elsewhere_"))
    return folder


def image(side=SIDE):
    return keras.Input((side, side, 3))


def normalised(x):
    """Normalisation with statistics that are not those of a new layer."""
    layer = layers.BatchNormalization()
    output = layer(x)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.5, 1.5, values.shape) for values in layer.get_weights()])
    return output


def mobile(side=SIDE):
    """What MobileNet, EfficientNet and DenseNet are made of: gates, borders, branches, normalisation."""
    start = image(side)
    x = layers.Conv2D(6, 3, 2, "same", use_bias=False, name="same")(
        keras.applications.mobilenet_v2.preprocess_input(start)
    )
    x = layers.Activation("hard_swish")(normalised(x))
    gate = layers.Conv2D(6, 1, activation="swish", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Conv2D(6, 1, activation="hard_sigmoid", name="gate_1")(gate)])
    x = layers.DepthwiseConv2D(3, 2, use_bias=False)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = layers.ReLU(6.0)(normalised(x))
    x = layers.Concatenate()([x, layers.LeakyReLU(0.1)(normalised(x))])
    x = layers.Conv2D(12, 3, groups=3, padding="same")(layers.MaxPooling2D(2)(x)) + layers.AveragePooling2D(2)(x)
    x = layers.Dense(5, activation="relu")(layers.GlobalAveragePooling2D()(layers.Dropout(0.2)(x)))
    return keras.Model(start, layers.Dense(1, activation="sigmoid")(x))


def caffe():
    """Colours in another order, each with a mean of its own; the middle of the image; two softmax units."""
    start = image()
    x = layers.Cropping2D(2)(keras.applications.resnet50.preprocess_input(start))
    x = layers.Flatten()(layers.Conv2D(3, 5, 4, activation="elu")(x))
    return keras.Model(start, layers.Dense(2, activation="softmax")(x))


def unusual():
    """What no layer of a translation is known for, and dilated, transposed and dense layers over pixels."""
    start = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same")(layers.Rescaling(1 / 255)(start))
    x = layers.PReLU("random_uniform", shared_axes=(1, 2))(x)[:, ::2, 1::2]
    seen = layers.Concatenate()([keras.ops.mean(x, -1, keepdims=True), keras.ops.max(x, -1, keepdims=True)])
    x = layers.Dense(6, activation="relu")(x * layers.Conv2D(1, 7, padding="same", activation="sigmoid")(seen))
    x = layers.Conv2DTranspose(4, 3, 2, "same")(layers.UpSampling2D(2)(x))
    x = layers.GroupNormalization(2)(layers.UpSampling2D(2, interpolation="bilinear")(layers.Permute((2, 1, 3))(x)))
    x = layers.Activation("gelu")(keras.ops.where(x > 0, x, -0.3 * x))
    x = layers.EinsumDense("abcd,de->abce", (None, None, 5))(keras.ops.power(keras.ops.maximum(x, 1e-3), 1.5))
    head = layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(0.0, 20.0))
    return keras.Model(start, head(layers.GlobalAveragePooling2D()(x)))


def kinds(network):
    """The layers of a network, functions by their own names."""
    used = layers_in_order(network)
    return {one.activation.__name__ if isinstance(one, layers.Activation) else type(one).__name__ for one in used}


@pytest.mark.parametrize("network", [mobile, pytest.param(caffe, marks=pytest.mark.slow)])
def test_a_saved_model_becomes_what_its_keras_file_becomes(network, tmp_path):
    keras.utils.set_random_seed(4)
    folder = saved(network(), tmp_path / "saved")
    assert input_side(folder) == SIDE
    prepared = prepare(folder, None, None)
    keras.utils.set_random_seed(4)
    network().save(tmp_path / "network.keras")
    expected = prepare(tmp_path / "network.keras", None, None)
    assert prepared.value_range == expected.value_range == "0..255"
    difference = prepared.model.predict(GREY, verbose=0) - expected.model.predict(GREY, verbose=0)
    assert np.abs(difference).max() <= FLOAT32_TOLERANCE + PROOF_TOLERANCE
    assert kinds(prepared.model) <= kinds(expected.model) | {"Rescaling", "ReLU", "silu"}
    assert network is caffe or {"silu", "hard_silu"} <= kinds(prepared.model)


def test_operations_without_a_layer_calculate_as_they_are(tmp_path):
    keras.utils.set_random_seed(4)
    network = unusual()
    prepared = prepare(saved(network, tmp_path / "saved"), None, None)
    assert prepared.value_range == "0..255" and {"RawOperation", "gelu"} <= kinds(prepared.model)
    expected = network.predict(np.repeat(np.rint(255.0 * GREY), 3, axis=-1).astype(np.uint8), verbose=0)
    difference = prepared.model.predict(GREY, verbose=0) - expected
    assert (
        np.ptp(expected) > 100 * FLOAT32_TOLERANCE and np.abs(difference).max() <= FLOAT32_TOLERANCE + PROOF_TOLERANCE
    )
    again = prepared.model.predict(GREY[1:2], verbose=0) - expected[1:2]
    assert np.abs(again).max() <= FLOAT32_TOLERANCE + PROOF_TOLERANCE


@pytest.mark.parametrize("gelu", [lambda x: 0.5 * x * (1.0 + tf.math.erf(x / 2**0.5)), lambda x: tf.nn.gelu(x)])
def test_gelu_is_known_however_it_was_written(gelu, tmp_path):
    prepared = prepare(saved(Asking(lambda module, features: gelu(3.0 * features)), tmp_path / "saved"), None, None)
    assert "gelu" in kinds(prepared.model) and "RawOperation" not in kinds(prepared.model)


class AsKeras2(tf.Module):
    """A network as Keras 2 wrote it: normalisation as one operation, and a second output."""

    def __init__(self, training=False):
        super().__init__()
        rng = np.random.default_rng(3)
        self.kernel = tf.Variable(rng.normal(size=(3, 3, 3, 4)), dtype=tf.float32)
        self.statistics = [tf.Variable(rng.uniform(0.5, 1.5, 4), dtype=tf.float32) for _ in range(4)]
        self.head = tf.Variable(rng.normal(size=(4, 1)), dtype=tf.float32)
        self.training = training

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
    def __call__(self, image):
        x = tf.nn.conv2d(image / 255.0, self.kernel, 2, "SAME")
        x, *_ = tf.raw_ops.FusedBatchNormV3(
            **dict(zip(("x", "scale", "offset", "mean", "variance"), [x, *self.statistics], strict=True)),
            epsilon=1e-3,
            is_training=self.training,
        )
        pooled = tf.reduce_mean(tf.nn.relu6(x), axis=[1, 2])
        return {"probability": tf.sigmoid(pooled @ self.head), "features": tf.reshape(pooled, [tf.shape(pooled)[0], 4])}


def test_a_saved_model_of_tensorflow_itself_is_taken_and_its_named_output_chosen(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "export")
    module = AsKeras2()
    saved(module, tmp_path / "saved")
    prepared = prepare(tmp_path / "saved", None, None)
    images = np.repeat(255.0 * GREY, 3, axis=-1).astype(np.float32)
    expected = module(images)["probability"].numpy()
    assert np.abs(prepared.model.predict(GREY, verbose=0) - expected).max() <= FLOAT32_TOLERANCE + PROOF_TOLERANCE
    assert "output probability is taken, and features left out" in caplog.text
    digest = model_sha256(tmp_path / "saved")
    (tmp_path / "saved" / "fingerprint.pb").write_bytes(b"another")
    assert model_sha256(tmp_path / "saved") != digest


class Asking(tf.Module):
    """A network of one product, which does something else beside."""

    def __init__(self, beside):
        super().__init__()
        self.weights = tf.Variable(np.full((3, 1), 0.1), dtype=tf.float32)
        self.beside = beside

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32)])
    def __call__(self, image):
        return tf.sigmoid(self.beside(self, tf.reduce_mean(image, axis=[1, 2])) @ self.weights)


def counting(module, features):
    module.weights.assign_add(tf.ones((3, 1)))
    return features


def of_a_file(module, features):
    return features + tf.cast(tf.strings.length(tf.io.read_file("/etc/os-release")), tf.float32)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (lambda: Asking(lambda module, features: tf.math.lgamma(features)), r"Lgamma \('Lgamma'\), which no layer is"),
        (lambda: Asking(lambda module, features: tf.cumsum(features, 1)), "Cumsum"),
        (lambda: Asking(lambda module, features: features - tf.reduce_mean(features, 0)), "Mean .* over axes"),
        (lambda: Asking(lambda module, features: tf.transpose(tf.transpose(features) + 1.0)), "Transpose"),
        (lambda: Asking(lambda module, features: tf.random.normal((1, 3)) + features), "RandomStandardNormal"),
        (lambda: Asking(of_a_file), "ReadFile"),
        (lambda: Asking(counting), "changes what its answer depends on while it answers"),
        (lambda: AsKeras2(training=True), "acts as in training"),
    ],
)
def test_a_saved_model_that_no_layers_are_known_for_is_one_line_that_says_why(module, says, tmp_path):
    saved(module(), tmp_path / "saved")
    with pytest.raises(ModelError, match=says) as refused:
        prepare(tmp_path / "saved", None, None)
    assert "\n" not in str(refused.value)


def test_what_a_saved_model_writes_beside_its_answer_is_not_written(tmp_path):
    def writing(module, features):
        tf.io.write_file(str(tmp_path / "written"), "by the network")
        return features

    module = Asking(writing)
    saved(module, tmp_path / "saved")
    assert prepare(tmp_path / "saved", None, None).flat is not None
    assert not (tmp_path / "written").exists()


def test_a_translation_that_is_off_by_one_percent_is_refused(tmp_path, monkeypatch):
    module = AsKeras2()
    saved(module, tmp_path / "saved")
    exact = LAYERS["MatMul"]
    monkeypatch.setitem(translation.LAYERS, "MatMul", lambda one: exact(one).scaled(1.01, 0.0))
    with pytest.raises(ModelError, match="it answers differently"):
        prepare(tmp_path / "saved", None, None)


@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_damaged_saved_model_is_one_line(part, tmp_path):
    module = AsKeras2()
    saved(module, tmp_path / "saved")
    (tmp_path / "saved" / part).write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match="damaged") as refused:
        prepare(tmp_path / "saved", None, None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["", pytest.param(".keras", marks=pytest.mark.slow)])
def test_a_network_that_takes_any_size_is_prepared_for_the_one_that_is_told(suffix, tmp_path):
    keras.utils.set_random_seed(4)
    start = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, 2, "same", activation="relu")(start))
    model = keras.Model(start, layers.Dense(1, activation="sigmoid")(x))
    path = tmp_path / f"network{suffix}"
    model.save(path) if suffix else saved(model, path)
    assert input_side(path) is None
    with pytest.raises(DataError, match="--size 224"):
        side_of(path, None)
    assert side_of(path, SIDE) == SIDE
    prepared = prepare(path, None, "0..1", side=SIDE)
    assert prepared.model.inputs[0].shape == (None, SIDE, SIDE, 1)
    expected = model.predict(np.repeat(GREY, 3, axis=-1), verbose=0)
    assert np.abs(prepared.model.predict(GREY, verbose=0) - expected).max() <= FLOAT32_TOLERANCE + PROOF_TOLERANCE
