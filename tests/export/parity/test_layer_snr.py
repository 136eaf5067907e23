"""Noise of layers: both formats tell the same, and a damaged layer is where the ratio falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.inputs.calibration import CalibrationSet
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from export.convert.formats import FORMATS
    from export.parity.layer_snr import layer_noise, steepest
    from export.quantize.activation_ranges import measure_ranges
    from export.quantize.int8_files import quantise_network

SIDE = 24


@pytest.fixture
def images_u8() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (12, SIDE, SIDE), np.uint8)


def network(damaged: str | None = None, gain: float = 1.0) -> keras.Model:
    """Five layers in a row; `damaged` has noise on its kernel, `gain` scales a tensor and takes it back behind it."""
    keras.utils.set_random_seed(4)
    grey = keras.Input((SIDE, SIDE, 1), name="grey")
    x = layers.ReLU(6.0)(layers.Conv2D(8, 3, strides=2, name="first")(grey))
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same", name="second")(x))
    x = layers.Conv2D(6, 1, name="third")(x)
    x = layers.ReLU(6.0)(layers.Conv2D(8, 1, name="fourth")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid", name="last")(x))
    if damaged:
        kernel, bias = model.get_layer(damaged).get_weights()
        noise = np.random.default_rng(0).normal(0, 0.5 * kernel.std(), kernel.shape)
        model.get_layer(damaged).set_weights([kernel + noise, bias])
    gains = np.geomspace(1.0, gain, 6)
    kernel, bias = model.get_layer("third").get_weights()
    model.get_layer("third").set_weights([kernel * gains, bias * gains])
    kernel, bias = model.get_layer("fourth").get_weights()
    model.get_layer("fourth").set_weights([kernel / gains[:, None], bias])
    return model


@pytest.fixture
def noise(tmp_path, images_u8):
    """Layers of an int8 file of one network against the float file of another."""

    def measure(suffix: str, exact: keras.Model, rounded: keras.Model):
        calibration = CalibrationSet(Path("none"), images_u8, (None,) * len(images_u8), (), (), True)
        with quiet_converters():
            content = FORMATS[suffix].convert(exact)
            int8 = quantise_network(rounded, (suffix,), calibration, measure_ranges)[suffix]
        paths = [tmp_path / f"{name}{suffix}" for name in ("float", "int8")]
        for path, data in zip(paths, (content, int8), strict=True):
            path.write_bytes(data)
        return layer_noise(*paths, images_u8[:4])

    return measure


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_layer_is_told_once_and_int8_keeps_most_of_the_signal(noise, suffix):
    found = noise(suffix, network(), network())
    assert len(found) == 7  # four convolutions, mean, dense, sigmoid; each activation with what it follows
    assert all(one.snr_db > 25 for one in found)
    assert found[0].fall_db == 0


@pytest.mark.parametrize("damaged", ["second", "third", "fourth"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_layer_is_where_the_ratio_falls_most(noise, suffix, damaged):
    found = noise(suffix, network(), network(damaged))
    (worst, *_) = steepest(found, 3)
    order = ["first", "second", "third", "fourth"]
    assert found.index(worst) == order.index(damaged)
    assert worst.fall_db > 15


def test_both_formats_tell_the_same(noise):
    tflite, onnx = (noise(suffix, network(), network()) for suffix in FORMATS)
    convolutions = slice(0, 4)
    of_tflite, of_onnx = ([one.snr_db for one in found[convolutions]] for found in (tflite, onnx))
    assert of_tflite == pytest.approx(of_onnx, abs=1.0)


def test_channels_that_a_recipe_scaled_are_no_noise(noise):
    third = 2
    plain, scaled = (noise(".tflite", network(), network(gain=gain))[third].snr_db for gain in (1.0, 4.0))
    assert scaled > plain - 8  # finer steps for some channels, coarser ones for others
