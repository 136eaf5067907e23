"""Networks as other people make them become one flat network over grey, with the answers of the original."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.bundle import INT8
from edge_runtime.errors import GateError, ModelError
from edge_runtime.spec import ModelSpec
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from export.convert import prepared_network
    from export.convert.formats import FORMATS
    from export.convert.grey_network import float_probabilities
    from export.convert.model_files import write_files
    from export.inputs.calibration import CalibrationSet
    from export.inputs.foreign.flattening import flattened
    from export.inputs.foreign.input_scaling import RANGES, expected_range
    from export.inputs.foreign.reading import PROOF_TOLERANCE, prepare, require_best_range
    from export.parity.engine_answers import ask
    from export.quantize.recipes import open_recipe
    from export.quantize.recipes.recipe_inputs import RecipeInputs
    from train.int8.keras_graph import layers_in_order, tensors_read

SIDE = 32
GREY = np.random.default_rng(2).integers(0, 256, (6, SIDE, SIDE, 1)) / 255.0
# Keras calculates in float32 here, and mixed precision in float16 beside.
FLOAT32_TOLERANCE, FLOAT16_TOLERANCE = 1e-5, 2e-3


def image():
    return keras.Input((SIDE, SIDE, 3))


def classified(x, head):
    return head(layers.GlobalAveragePooling2D()(x))


def nested():
    """A backbone in a backbone, as tutorials of transfer learning write it."""
    start = image()
    stem = keras.Sequential(
        [image(), layers.Conv2D(6, 3, 2, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    )
    backbone = keras.Model(start, stem(layers.RandomFlip()(start)))
    backbone.trainable = False
    outer = image()
    x = backbone(layers.Rescaling(1 / 127.5, -1)(outer), training=False)
    return keras.Model(outer, classified(layers.Dropout(0.2)(x), layers.Dense(2, activation="softmax")))


def sequential():
    body = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([image(), layers.Rescaling(1 / 255), *body])


def shared():
    """One layer called twice, and operations between layers."""
    start, twice = image(), layers.Conv2D(3, 3, padding="same", activation="relu")
    x = keras.ops.relu(keras.ops.mean(twice(twice(start)), axis=[1, 2]) * 2.0 + 0.1)
    return keras.Model(start, layers.Dense(1, activation="sigmoid")(x))


def caffe():
    """Colours in another order, each with a mean of its own; logits."""
    start = image()
    x = keras.applications.resnet50.preprocess_input(start)
    return keras.Model(start, classified(layers.Conv2D(4, 3, padding="same")(x), layers.Dense(1)))


def imagenet():
    start, deviations = image(), np.array([0.229, 0.224, 0.225])
    x = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=deviations**2)(layers.Rescaling(1 / 255)(start))
    x = layers.SeparableConv2D(4, 3, activation="relu")(layers.Conv2D(4, 3, padding="same")(x))
    return keras.Model(start, classified(x, layers.Dense(3, activation="softmax")))


def adapted():
    """Normalisation that learnt its mean and deviation."""
    normalisation = layers.Normalization()
    normalisation.adapt(np.random.default_rng(1).normal([0.3, 0.5, 0.7], 0.2, (8, SIDE, SIDE, 3)))
    start = image()
    return keras.Model(start, classified(layers.Conv2D(4, 3)(normalisation(start)), layers.Dense(2)))


def mixed():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        start = image()
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False)(start)))
        return keras.Model(start, classified(x, layers.Dense(1, activation="sigmoid", dtype="float32")))
    finally:
        keras.mixed_precision.set_global_policy("float32")


def several():
    """A second output that is no row of class scores."""
    start = image()
    x = layers.Conv2D(4, 3)(start)
    return keras.Model(start, [x, classified(x, layers.Dense(1, activation="sigmoid"))])


def by_name():
    """Inputs and outputs in dicts; two rows of scores of the same shape, of which one is named."""
    start = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="swish")(start))
    other = layers.Dense(1, activation="sigmoid", name="cast")(x)
    return keras.Model(
        {"image": start}, {"cast": other, "own": layers.Dense(1, activation="sigmoid", name="probability")(x)}
    )


def resized():
    """Layers of images that are always called as in training."""
    start = image()
    x = layers.Rescaling(1 / 255)(layers.CenterCrop(20, 20)(layers.Resizing(24, 24)(start)))
    return keras.Model(start, classified(layers.Conv2D(4, 3)(x), layers.Dense(1, activation="sigmoid")))


def grouped():
    """Convolutions of groups of channels: one channel each, and several."""
    start = image()
    x = layers.Conv2D(8, 3, groups=4, activation="relu")(layers.Conv2D(8, 3)(start))
    x = layers.Conv2D(16, 3, 2, "same", groups=8)(x)
    return keras.Model(start, classified(x, layers.Dense(1, activation="sigmoid")))


def attending():
    """A layer called with several arguments, and functions inside layers."""
    start = image()
    x = layers.Reshape((16, 8))(layers.Conv2D(8, 8, 8, activation="elu")(start))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x))
    x = layers.Dense(8, activation="gelu")(x)
    return keras.Model(start, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling1D()(x)))


def of_parts():
    """Channels split by an operation with several outputs, a dense layer over pixels, rows and columns repeated."""
    start = image()
    first, second = keras.ops.split(layers.Conv2D(8, 3, 2, "same")(start), 2, axis=-1)
    x = layers.Concatenate()([layers.SeparableConv2D(4, 3, padding="same", activation="mish")(first), second])
    x = layers.UpSampling2D((2, 3))(layers.Dense(6, activation="relu")(x))
    x = layers.PReLU("random_uniform", shared_axes=(1, 2))(layers.Conv2D(6, 3)(x))
    return keras.Model(start, classified(x, layers.Dense(1, activation="sigmoid")))


def in_rows():
    """An image without an axis of channels, and a layer around another one."""
    start = image()
    x = layers.MaxPooling1D()(layers.Conv1D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(start)[..., 0]))
    x = layers.TimeDistributed(layers.Dense(4, activation="relu"))(layers.Reshape((3, 40))(x))
    return keras.Model(start, layers.Dense(1, activation="sigmoid")(layers.Flatten()(x)))


def member(start, head):
    return classified(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(start)), head)


def agreed():
    """The mean of what several networks say, of two softmax units each."""
    start = image()
    return keras.Model(start, layers.Average()([member(start, layers.Dense(2, "softmax")) for _ in range(3)]))


def against():
    """A weighted mean of two probabilities, then the probability of the other class."""
    start = image()
    one, other = (member(start, layers.Dense(1, "sigmoid")) for _ in range(2))
    return keras.Model(start, 1.0 - (0.7 * one + 0.3 * other))


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


# kind -> (range that its first layers say, its positive unit, its own answer as a probability)
KINDS = {
    nested: ("0..255", None, lambda answer: answer[:, 1]),
    sequential: ("0..255", None, lambda answer: answer[:, 0]),
    shared: (None, 0, lambda answer: 1 - answer[:, 0]),
    caffe: ("0..255", None, lambda answer: 1 / (1 + np.exp(-answer[:, 0]))),
    imagenet: ("0..255", 1, lambda answer: answer[:, 1]),
    adapted: ("0..1", 0, lambda answer: softmax(answer)[:, 0]),
    mixed: (None, None, lambda answer: answer[:, 0]),
    several: (None, None, lambda answer: answer[:, 0]),
    by_name: (None, None, lambda answer: answer[:, 0]),
    resized: (None, None, lambda answer: answer[:, 0]),
    grouped: (None, None, lambda answer: answer[:, 0]),
    attending: (None, None, lambda answer: answer[:, 0]),
    of_parts: (None, None, lambda answer: answer[:, 0]),
    in_rows: ("0..255", None, lambda answer: answer[:, 0]),
    agreed: ("0..255", None, lambda answer: answer[:, 1]),
    against: ("0..255", 0, lambda answer: 1 - answer[:, 0]),
}


def made(kind):
    keras.utils.set_random_seed(4)
    return kind()


# Others among these and in test_saved_model.py have the same parts, and are quick.
ALSO_ELSEWHERE = (adapted, several, resized, grouped)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind in ALSO_ELSEWHERE), id=kind.__name__) for kind in KINDS],
)
def test_each_kind_answers_as_its_original_from_grey_alone(kind, tmp_path):
    expected_reading, positive, probability = KINDS[kind]
    original = made(kind)
    original.save(tmp_path / "network.keras")
    prepared = prepare(tmp_path / "network.keras", positive, None)
    assert expected_range(flattened(original)) == expected_reading
    low, high = RANGES[prepared.value_range]
    images = np.repeat(low + (high - low) * GREY, 3, axis=-1)
    answers = original.predict({"image": images} if kind is by_name else images, verbose=0)
    expected = probability(np.asarray(keras.tree.flatten(answers)[-1], np.float64))
    given = prepared.model.predict(GREY, verbose=0)
    assert given.shape == (len(GREY), 1) and prepared.model.inputs[0].shape == (None, SIDE, SIDE, 1)
    tolerance = FLOAT16_TOLERANCE if kind is mixed else FLOAT32_TOLERANCE
    assert np.abs(given[:, 0] - expected).max() <= tolerance + PROOF_TOLERANCE
    used = [layer for layer in layers_in_order(prepared.model) if tensors_read(layer)]
    assert not any(isinstance(layer, (keras.Model, layers.Dropout, layers.RandomFlip)) for layer in used)


def test_an_h5_file_of_a_functional_network_is_taken(tmp_path):
    made(nested).save(tmp_path / "network.h5")
    assert prepare(tmp_path / "network.h5", None, None).value_range == "0..255"


def test_a_network_that_scales_nothing_is_taken_as_0_to_1_and_it_is_said(tmp_path, caplog):
    caplog.set_level("WARNING", "export")
    made(mixed).save(tmp_path / "network.keras")
    assert prepare(tmp_path / "network.keras", None, None).value_range == "0..1"
    assert any("--input-range" in line for line in caplog.messages)


def test_a_range_that_the_first_layers_speak_against_is_taken_and_it_is_said(tmp_path, caplog):
    caplog.set_level("WARNING", "export")
    made(sequential).save(tmp_path / "network.keras")
    assert prepare(tmp_path / "network.keras", None, "0..1").value_range == "0..1"
    assert any("made for 0..255: taken as 0..1" in line for line in caplog.messages)
    caplog.clear()
    prepare(tmp_path / "network.keras", None, "0..255")
    assert not any("made for" in line for line in caplog.messages)


@keras.saving.register_keras_serializable()
class Own(layers.Layer):
    def call(self, images):
        return images


def with_layer(layer):
    start = image()
    return keras.Model(start, classified(layer(start), layers.Dense(1)))


def quantised(model):
    model.layers[-1].quantize("int8")
    return model


def ending_in(activation, units=1):
    start = image()
    return keras.Model(start, classified(start, layers.Dense(units, activation=activation)))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda: with_layer(Own(name="mine")), "'mine' is a custom layer"),
        (lambda: with_layer(layers.Lambda(lambda x: x * 2, name="twice", output_shape=(SIDE, SIDE, 3))), "a Lambda"),
        (lambda: quantised(made(nested)), "quantised it already"),
        (
            lambda: with_layer(layers.ConvLSTM1D(4, 3, return_sequences=True, name="loop")),
            r"'loop' \(ConvLSTM1D\) is recurrent",
        ),
        (lambda: ending_in("tanh"), "ends in 'tanh'"),
        (lambda: ending_in("softmax"), "softmax over one unit"),
        (lambda: ending_in("softmax", 3), "--positive"),
        (lambda: keras.Model(start := image(), layers.Conv2D(1, 1)(start)), "a row of class scores was expected"),
    ],
)
def test_what_cannot_be_taken_is_one_line_that_says_why(network, says, tmp_path):
    network().save(tmp_path / "network.keras")
    with pytest.raises(ModelError, match=says) as refused:
        prepare(tmp_path / "network.keras", None, None)
    assert "\n" not in str(refused.value)


def test_a_reading_of_the_range_that_tells_nothing_apart_is_refused(tmp_path):
    start = image()
    darkest = layers.GlobalAveragePooling2D()(layers.ReLU(threshold=1.5)(start))  # nothing of 0 to 1 gets through
    head = layers.Dense(1, activation="sigmoid")
    network = keras.Model(start, head(darkest))
    head.set_weights([np.full((3, 1), 0.02), np.zeros(1)])
    network.save(tmp_path / "network.keras")
    prepared = prepare(tmp_path / "network.keras", None, "0..1")
    labels = np.arange(20) % 2
    images_u8 = (np.full((20, SIDE, SIDE), 60) + 80 * labels[:, None, None]).astype(np.uint8)

    def answers(model, images):
        return model.predict(images[..., None] / 255.0, verbose=0)[:, 0]

    with pytest.raises(GateError, match=r"--input-range 0\.\.255"):
        require_best_range(prepared, images_u8, labels, answers)
    require_best_range(prepare(tmp_path / "network.keras", None, "0..255"), images_u8, labels, answers)
    require_best_range(prepared, images_u8, None, answers)


def test_another_reading_that_tells_nothing_apart_is_no_better(tmp_path):
    made(mixed).save(tmp_path / "network.keras")
    prepared = prepare(tmp_path / "network.keras", None, "0..1")
    labels = np.arange(24) % 2
    images_u8 = np.full((24, SIDE, SIDE), 60, np.uint8)

    def answers(model, images):  # of the network itself the wrong way round, of any other reading the same to all
        return 1.0 - 0.9 * labels if model is prepared.model else np.full(24, 0.3)

    require_best_range(prepared, images_u8, labels, answers)


WITH_LAYERS_IN_FLOAT = (attending, of_parts)
# Of the spread of the answers. A normalisation divides by what little an untrained network tells apart, rounding too.
NEAR, NEAR_WITH_NORMALISATION = 0.15, 0.3


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """Waves of many widths, bright and dark."""
    y, x = np.mgrid[:SIDE, :SIDE]
    widths, levels = np.linspace(2, 12, 16)[:, None, None], np.linspace(20, 220, 16)[:, None, None]
    grey = np.clip(levels + 60 * np.sin(x / widths) * np.cos(y / 7), 0, 255).astype(np.uint8)
    names = tuple(map(str, range(len(grey))))
    return CalibrationSet(tmp_path_factory.mktemp("none"), grey, (None,) * len(grey), names, names, phantoms=False)


@pytest.mark.parametrize(
    "kind", [mixed, *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind is not mixed)]
)
def test_each_kind_becomes_int8_that_answers_nearly_as_it_does(kind, tmp_path, calibration):
    original = made(kind)
    steepened(original, KINDS[kind][0], calibration.images_u8)
    original.save(tmp_path / "network.keras")
    network = prepare(tmp_path / "network.keras", KINDS[kind][1], None).model
    spec = ModelSpec("any", SIDE, "stretch", "bilinear", ("a", "b"), 0.5, "radiograph")
    prepared = prepared_network.prepare(network, spec, calibration.images_u8[:4])
    inputs = RecipeInputs(calibration, lambda: calibration.images_u8, allow_mixed=kind in WITH_LAYERS_IN_FLOAT)
    suffixes = (".tflite",) if kind is mixed else tuple(FORMATS)  # the quick twin
    files = write_files(tmp_path, INT8, open_recipe("minmax").quantize(prepared, suffixes, inputs), spec)
    expected = float_probabilities(network, calibration.images_u8)
    assert np.ptp(expected) > 0.1
    assert all(("mixed" in path.name) == (kind in WITH_LAYERS_IN_FLOAT) for path in files)
    for path, inside in files.items():
        given = ask(path, inside, calibration.images_u8).probabilities
        near = NEAR_WITH_NORMALISATION if kind is attending else NEAR
        assert np.abs(given - expected).max() < near * np.ptp(expected) + 2 / 255


def steepened(model, reading, images_u8):
    """Makes the last layer's answers spread over the images, as those of a trained network do."""
    low, high = RANGES[reading or "0..1"]
    images = np.repeat(low + (high - low) * images_u8[..., None] / 255.0, 3, axis=-1).astype(np.float32)
    head = next(layer for layer in reversed(model.layers) if isinstance(layer, layers.Dense) and layer.name != "cast")
    below = keras.Model(model.inputs, head.input)
    given = keras.tree.map_structure(lambda _: images, below.input)
    features = np.asarray(below(given, training=False), np.float64)
    kernel, *bias = head.get_weights()
    scores = features @ kernel
    factor = 1.0 / max(float(np.std(scores - scores.mean(0))), 1e-6)
    head.set_weights([kernel * factor, *(-scores.mean(0) * factor for _ in bias)])
