"""Fine-tuning: int8 comes closer to the trained network, in the time given, and a stopped run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from edge_runtime.quantization import grey_to_float
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from export.convert.grey_network import as_input
    from export.quantize import fine_tuning
    from train.int8.layer_kinds import WEIGHTED
    from train.int8.layer_ranges import layer_ranges
    from train.networks import OUTPUT_NAME
    from train.networks.heads import FRACTURE_MAP, map_head

GRID_TOLERANCE = 1e-4  # of a step: what float32 makes of 127 steps


@pytest.fixture
def network() -> keras.Model:
    """A folded network whose depthwise channels differ so much in size that one scale serves few of them."""
    keras.utils.set_random_seed(4)
    grey = keras.Input((24, 24, 1), name="grey")
    x = layers.ReLU(6.0)(layers.Conv2D(12, 3, strides=2, padding="same")(grey))
    x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Add()([layers.Conv2D(6, 1)(x), layers.Conv2D(6, 1)(x)])
    model = keras.Model(grey, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel, bias = layer.get_weights()
            spread = np.geomspace(0.05, 4.0, kernel.shape[-2])[:, None]
            layer.set_weights([kernel * spread, np.random.default_rng(3).normal(0, 0.3, bias.shape)])
    return model


@pytest.fixture
def images_u8() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (96, 24, 24), np.uint8)


def copy_of(network: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def rounded_error(network: keras.Model, teacher: keras.Model, images_u8: np.ndarray) -> float:
    """Mean square of the change of the logit in a network calculated as int8 does."""
    ranges = layer_ranges(teacher, as_input(images_u8))
    student = fine_tuning._student(copy_of(network), copy_of(teacher), ranges)
    grey = grey_to_float(images_u8)[..., None]
    logits = [np.log(p / (1 - p)) for p in (np.asarray(model(grey), np.float64) for model in (student, teacher))]
    return float(np.mean(np.square(logits[0] - logits[1])))


class Listener(logging.Handler):
    """Gives every message that is logged to a function."""

    def __init__(self, hear: Callable[[str], object]) -> None:
        super().__init__()
        self.emit = lambda record: hear(record.getMessage())


def tuned(network: keras.Model, images_u8: np.ndarray, hear: Callable[[str], object] = str, **options) -> keras.Model:
    copy, listener = copy_of(network), Listener(hear)
    fine_tuning.log.addHandler(listener)
    fine_tuning.log.setLevel(logging.INFO)
    try:
        fine_tuning.fine_tune(copy, copy_of(network), images_u8, **options)
    finally:
        fine_tuning.log.removeHandler(listener)
    return copy


def test_the_rounded_network_comes_closer_and_its_weights_are_on_the_grid(network, images_u8, monkeypatch):
    monkeypatch.setattr(fine_tuning, "EPOCHS", 40)
    monkeypatch.setattr(fine_tuning, "LEARNING_RATE", 1e-3)  # two steps an epoch are few
    teacher = copy_of(network)
    before = rounded_error(network, teacher, images_u8)
    student = tuned(network, images_u8[:64])
    assert rounded_error(student, teacher, images_u8[64:]) < 0.5 * before
    for layer in student.layers:
        if isinstance(layer, WEIGHTED):
            kernel = layer.get_weights()[0].astype(np.float64)
            axes = (0, 1) if isinstance(layer, layers.DepthwiseConv2D) else tuple(range(kernel.ndim - 1))
            steps = kernel / (np.abs(kernel).max(axis=axes, keepdims=True) / 127.0)
            assert np.abs(steps - np.round(steps)).max() < GRID_TOLERANCE


def test_a_step_cut_into_parts_learns_the_same_and_can_be_stopped(network, images_u8, tmp_path, monkeypatch):
    whole = tuned(network, images_u8)
    monkeypatch.setattr(fine_tuning, "_PIXELS_AT_ONCE", 8 * 24 * 24)
    monkeypatch.setattr(fine_tuning, "_STEPS_BETWEEN_STATES", 2)

    def stop(line: str) -> None:
        if "step 3 of 6" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(network, images_u8, stop, state=tmp_path)
    cut = tuned(network, images_u8, state=tmp_path)
    for first, one, other in zip(network.get_weights(), whole.get_weights(), cut.get_weights(), strict=True):
        # Each tensor's distance is a share of its mean square, in whole steps over more images than in parts.
        assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one - first)


def test_what_transfer_learning_left_frozen_learns_too(network, images_u8, monkeypatch):
    monkeypatch.setattr(fine_tuning, "LEARNING_RATE", 1e-3)
    frozen = copy_of(network)
    frozen.trainable = False
    before = [kernel.copy() for kernel in frozen.get_weights()]
    student = tuned(network, images_u8)
    fine_tuning.fine_tune(frozen, copy_of(network), images_u8)
    for first, same, found in zip(before, student.get_weights(), frozen.get_weights(), strict=True):
        assert not np.array_equal(first, found)
        np.testing.assert_array_equal(same, found)


def test_a_network_that_tells_where_it_looked_can_be_tuned(images_u8):
    grey = keras.Input((24, 24, 1), name="grey")
    fine = layers.ReLU(6.0)(layers.Conv2D(6, 3, strides=2, padding="same")(grey))
    with_map = keras.Model(grey, map_head(layers.MaxPooling2D(2)(fine), fine, 0.1))
    with_map.get_layer(OUTPUT_NAME).trainable = False  # as edge-train leaves it
    student = tuned(with_map, images_u8)
    assert len(student.outputs) == 2
    assert not np.array_equal(student.get_layer(FRACTURE_MAP).kernel, with_map.get_layer(FRACTURE_MAP).kernel)


def test_the_teacher_is_not_changed(network, images_u8):
    teacher, copy = copy_of(network), copy_of(network)
    fine_tuning.fine_tune(copy, teacher, images_u8)
    for before, after in zip(network.get_weights(), teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(network, images_u8, tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuning, "_STEPS_BETWEEN_STATES", 2)
    monkeypatch.setattr(fine_tuning, "EPOCHS", 4)
    whole = tuned(network, images_u8, state=tmp_path / "whole")

    def stop(line: str) -> None:
        if "step 7 of 12" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(network, images_u8, stop, state=tmp_path / "stopped")
    lines: list[str] = []
    resumed = tuned(network, images_u8, lines.append, state=tmp_path / "stopped")
    assert lines[0].startswith("fine-tuning: step 7 of 12")  # six were kept
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_of_other_images_is_not_gone_on_from(network, images_u8, tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuning, "_STEPS_BETWEEN_STATES", 1)
    tuned(network, images_u8, state=tmp_path)
    lines: list[str] = []
    tuned(network, images_u8[::-1], lines.append, state=tmp_path)
    assert lines[1].startswith("fine-tuning: step 1 of 6")


def test_a_small_budget_makes_fewer_steps_and_says_how_long_it_takes(network, images_u8):
    lines: list[str] = []
    tuned(network, images_u8, lines.append, budget_minutes=1e-6)
    assert lines[0].startswith("fine-tuning: 1 steps of 32 images, about 0 minutes") and len(lines) == 2
