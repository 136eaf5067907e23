"""Affine quantisation: exact where the contract says so, never wrapping around."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.quantization import (
    GREY_SCALE,
    GREY_ZERO_POINT,
    dequantize,
    grey_to_float,
    grey_to_int8,
    quantize,
)

GREYS = np.arange(256, dtype=np.uint8)


def test_grey_to_int8_is_the_quantisation_of_grey_to_float_for_every_grey():
    by_formula = quantize(grey_to_float(GREYS), GREY_SCALE, GREY_ZERO_POINT, "int8")
    np.testing.assert_array_equal(grey_to_int8(GREYS), by_formula)
    np.testing.assert_array_equal(grey_to_int8(GREYS), GREYS.astype(int) - 128)
    assert grey_to_int8(GREYS).dtype == np.int8


def test_grey_to_int8_keeps_any_shape_and_layout():
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(grey_to_int8(image[::2, ::-1]), image[::2, ::-1].astype(int) - 128)


def test_grey_to_float_spans_0_to_1_in_float32():
    real = grey_to_float(GREYS)
    assert real.dtype == np.float32 and real[0] == 0.0 and real[255] == 1.0
    np.testing.assert_array_equal(real, GREYS.astype(np.float32) / np.float32(255))


def test_dequantising_a_grey_gives_it_back():
    np.testing.assert_array_equal(dequantize(grey_to_int8(GREYS), GREY_SCALE, GREY_ZERO_POINT), grey_to_float(GREYS))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 256, -128), (0.037, 5), (1.0, 0), (1e-6, 127), (250.0, -7)])
def test_every_stored_value_survives_a_round_trip(dtype, scale, zero_point):
    limits = np.iinfo(dtype)
    stored = np.arange(limits.min, limits.max + 1).astype(dtype)
    real = dequantize(stored, scale, zero_point)
    assert real.dtype == np.float32
    np.testing.assert_array_equal(quantize(real, scale, zero_point, dtype), stored)


def test_halves_are_rounded_to_even():
    real = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    np.testing.assert_array_equal(quantize(real, 1.0, 0, "int8"), [-2, -2, 0, 0, 2, 2])


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255)])
@pytest.mark.parametrize("far", [300.0, 1e12, 3e38, np.inf])
def test_values_beyond_the_range_are_clipped(dtype, low, high, far):
    np.testing.assert_array_equal(quantize(np.array([-far, far], np.float32), 1.0, 0, dtype), [low, high])


def test_subtracting_the_zero_point_does_not_wrap_around():
    np.testing.assert_array_equal(dequantize(np.array([127], np.int8), 1.0, -128), [255.0])
    np.testing.assert_array_equal(dequantize(np.array([-128], np.int8), 1.0, 127), [-255.0])
    np.testing.assert_array_equal(dequantize(np.array([0], np.uint8), 1.0, 255), [-255.0])


@pytest.mark.parametrize("scale", [1 / 255, 0.01, 0.3])
def test_the_error_is_at_most_half_a_step(scale):
    real = np.random.default_rng(4).uniform(-100 * scale, 100 * scale, 1000)
    error = dequantize(quantize(real, scale, 0, "int8"), scale, 0) - real
    assert np.abs(error).max() <= scale / 2 * (1 + 1e-5)  # float32 of the result
