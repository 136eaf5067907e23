"""Which value is white: what files declare, else the depth that nearly all pixels fit into."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.depth import BY_VALUES, declared_depth, find_depth, to_grey
from edge_runtime.images import read_image
from tests.edge_runtime.formats.crafted import netpbm, png, tiff

RNG = np.random.default_rng(5)


def radiograph(bits: int, height: int = 120, width: int = 96) -> np.ndarray:
    """uint16 (H, W) of a detector with so many bits: dark around, bones bright, noise, as bright as 0.9 of white."""
    y, x = np.mgrid[0:height, 0:width]
    shaft = np.exp(-(((x - width / 2) / 14) ** 2)) * (0.7 + 0.2 * np.sin(y / 9))
    noisy = (0.05 + shaft * 0.9) * ((1 << bits) - 1) + RNG.normal(0, (1 << bits) / 400, (height, width))
    return np.clip(np.rint(noisy), 0, (1 << bits) - 1).astype(np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("outside", ["nothing", "one pixel", "a marker", "stuck pixels"])
def test_the_depth_is_found_whatever_a_few_pixels_say(bits, outside):
    values = radiograph(bits)
    if outside == "one pixel":
        values[3, 4] = 65_535
    elif outside == "a marker":  # 0.8 % of the image
        values[4:12, 4:15] = 65_535
    elif outside == "stuck pixels":
        values.ravel()[RNG.choice(values.size, 40, replace=False)] = RNG.integers(0, 65_536, 40)
    found = find_depth(values)
    assert (found.bits, found.source, found.white) == (bits, BY_VALUES, (1 << bits) - 1)
    assert (found.outside > 0) == (outside != "nothing" and bits < 16)


def test_one_pixel_of_a_tiny_image_does_not_decide():
    values = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    values[0, 0] = 4095
    assert find_depth(values).bits == 10
    assert find_depth(np.array([[5, 3000]], np.uint16)).bits == 8


@pytest.mark.parametrize("white", [65_535, 4095, 255, 1000, 100])
def test_white_is_255_and_black_is_0_and_all_between_rises(white):
    values = np.arange(white + 1, dtype=np.uint16).reshape(1, -1)
    grey = to_grey(values, white)
    assert (grey[0, 0], grey[0, -1]) == (0, 255) and (np.diff(grey[0].astype(int)) >= 0).all()
    np.testing.assert_array_equal(to_grey(values, white, is_inverted=True), to_grey(white - values, white))


def test_what_is_brighter_than_white_is_white_and_wraps_nowhere():
    assert to_grey(np.array([[4095, 4096, 65_535]], np.uint16), 4095).tolist() == [[255, 255, 255]]


def test_a_declared_depth_counts_though_the_image_is_dark():
    dark = (radiograph(12) // 8).astype(np.uint16)
    assert find_depth(dark).bits == 10
    assert declared_depth(dark, 12, "PNG sBIT").white == 4095
    decoded = read_image(png(dark, significant=12))
    assert (decoded.depth, decoded.depth_from) == (12, "PNG sBIT")
    np.testing.assert_array_equal(decoded.grey_u8, dark >> 4)


def test_samples_stretched_to_16_bits_as_png_asks_are_known_beside_those_that_are_not():
    values = radiograph(12)
    stretched = values << 4 | values >> 8
    for samples in (values, stretched):
        decoded = read_image(png(samples, significant=12))
        np.testing.assert_array_equal(decoded.grey_u8, values >> 4)
        assert decoded.depth == 12


def test_one_pixel_beyond_the_declared_depth_is_white_and_moves_no_other():
    values = radiograph(12)
    values[0, 0] = 65_535
    decoded = read_image(png(values, significant=12))
    np.testing.assert_array_equal(decoded.grey_u8.ravel()[1:], (values >> 4).ravel()[1:])
    assert decoded.grey_u8[0, 0] == 255 and "1 pixels" in decoded.warnings[0]


@pytest.mark.parametrize("maxval", [1023, 4095, 16_383, 1000, 60_000])
@pytest.mark.parametrize("plain", [False, True])
def test_the_white_of_a_pgm_is_its_maxval(maxval, plain):
    values = (radiograph(8).astype(np.uint32) * maxval // 255).astype(np.uint16) // 2
    decoded = read_image(netpbm(values, maxval, plain))
    assert np.abs(decoded.grey_u8 - values * (255 / maxval)).max() <= 1
    assert (decoded.depth, decoded.depth_from) == (maxval.bit_length(), "PGM maxval")


def test_a_pgm_of_65535_and_a_tiff_of_16_bits_say_nothing_about_depth():
    values = radiograph(12)
    for file in (netpbm(values, 65_535), tiff(values)):
        decoded = read_image(file)
        np.testing.assert_array_equal(decoded.grey_u8, values >> 4)
        assert (decoded.depth, decoded.depth_from) == (12, BY_VALUES)


def test_tiff_declares_its_depth_by_the_largest_value_or_by_its_bits():
    values = radiograph(12) // 8
    decoded = read_image(tiff(values, tags={281: 4095}))
    assert (decoded.depth, decoded.depth_from) == (12, "TIFF MaxSampleValue")
    np.testing.assert_array_equal(decoded.grey_u8, values >> 4)
    packed = read_image(tiff(values, bits=12))
    assert (packed.depth, packed.depth_from) == (12, "TIFF BitsPerSample")
    np.testing.assert_array_equal(packed.grey_u8, values >> 4)


def test_8_bits_leave_no_doubt():
    decoded = read_image(png(radiograph(8).astype(np.uint8)))
    assert (decoded.depth, decoded.depth_from, decoded.warnings) == (8, "file", ())
