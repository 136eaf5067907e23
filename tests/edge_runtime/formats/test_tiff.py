"""Kinds of TIFF: tiles, BigTIFF, planes; and directories that lie."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey
from tests.edge_runtime.formats.crafted import tiff

GREY = np.random.default_rng(4).integers(0, 256, (40, 56), dtype=np.uint8)


def refusal(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    return str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tile", [None, 16, 64])
@pytest.mark.parametrize("compression", [1, 8])
def test_tiles_strips_both_orders_and_bigtiff_are_read(order, big, tile, compression):
    content = tiff(GREY, order=order, big=big, tile=tile, compression=compression, rows_per_strip=9)
    if big and order == ">":  # which Pillow does not know
        assert "not an image of a known format" in refusal(content)
        return
    np.testing.assert_array_equal(read_grey(content), GREY)


def test_planes_that_lie_apart_are_read_with_8_bits():
    planes = np.concatenate([GREY, GREY, GREY])
    content = tiff(planes, rows_per_strip=40, tags={257: 40, 262: 2, 277: 3, 284: 2, 278: 40})
    content = content.replace(struct.pack("<HHII", 258, 4, 1, 8), struct.pack("<HHIHH", 258, 3, 1, 8, 0))
    np.testing.assert_array_equal(read_grey(content), GREY)


def test_a_file_without_lengths_is_read_where_they_follow_from_its_size():
    np.testing.assert_array_equal(read_grey(tiff(GREY, tags={279: None})), GREY)
    assert "how long" in refusal(tiff(GREY, compression=8, tags={279: None}))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tiff(GREY, tags={259: 50_000}), "Zstandard"),
        (tiff(GREY, tags={259: 34_925}), "LZMA"),
        (tiff(GREY, tags={259: 6}), "old-style JPEG"),
        (tiff(GREY, tags={259: 999}), "kind 999"),
        (tiff(GREY, tags={256: None}), "lacks its size"),
        (tiff(GREY, tags={257: 0}), "lacks its size"),
        (tiff(GREY, tile=16, tags={322: 0}), "no possible size"),
        (tiff(GREY, tile=16, tags={323: 40_000}), "no possible size"),
        (tiff(GREY, tile=16, tags={273: 8, 279: 5}), "both strips and tiles"),
        (tiff(GREY, tags={273: None}), "0 of 1 strips"),
        (tiff(GREY, tile=16)[:-1000], "directory is missing"),
        (tiff(GREY, tags={279: 10**6}), "not all there"),
        (tiff(GREY, tags={277: 40_000}), "too short"),
        (b"II\x2a\x00\xff\xff\xff\xff", "directory is missing"),
        (b"II\x2b\x00\x08\x00\x00\x00", "ends early"),
        (b"II\x09\x00\x08\x00\x00\x00", "not an image"),
        (b"II\x2a\x00\x08\x00\x00\x00\xff\xff", "too many entries"),
    ],
)
def test_a_directory_that_lies_is_told(content, says):
    import re

    assert re.search(says, refusal(content)), refusal(content)


def test_a_tag_that_is_no_number_is_not_taken_for_one():
    refusal(tiff(GREY).replace(struct.pack("<HHI", 278, 4, 1), struct.pack("<HHI", 278, 5, 1)))


def test_floating_point_and_other_deep_colours_are_refused():
    assert "16 bits in channels" in refusal(tiff(np.zeros((9, 9, 4), np.uint16), photometric=5, tags={338: None}))
