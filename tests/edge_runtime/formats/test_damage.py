"""Damage that a file itself can tell is told, and every cut of every file is noticed or changes nothing."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey
from tests.edge_runtime.formats.crafted import PNG_SIGNATURE, chunk, png, tiff

GREY = np.random.default_rng(2).integers(0, 256, (64, 48), dtype=np.uint8)
FLIPS = 300


def code(content: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    return caught.value.code


def flipped(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("deep", [False, True])
def test_no_flipped_bit_of_a_png_is_judged(deep):
    content, random_ = png(GREY.astype(np.uint16) << 8 if deep else GREY), random.Random(1)
    for _ in range(FLIPS):
        with pytest.raises(ImageError):
            read_grey(flipped(content, random_))


def test_no_flipped_bit_among_the_pixels_of_a_deflated_tiff_is_judged():
    content, random_ = tiff(GREY, compression=8, rows_per_strip=16), random.Random(2)
    pixels = content.index(b"\x78")
    for _ in range(FLIPS):
        changed = bytearray(content)
        changed[random_.randrange(pixels, pixels + 2000)] ^= 1 << random_.randrange(8)
        with pytest.raises(ImageError):
            read_grey(bytes(changed))


@pytest.mark.parametrize("lost", [1, 4, 5, 12, 13, 100])
def test_a_png_cut_short_is_truncated(lost):
    assert code(png(GREY)[:-lost]) == "truncated"


def ihdr(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    return PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def test_rows_that_are_missing_or_too_many_are_told():
    rows = [b"\0" + row.tobytes() for row in GREY]
    for content, expected in ((rows[:32], "truncated"), (rows[:-1], "truncated"), ([*rows, rows[0]], "unreadable")):
        body = chunk(b"IDAT", zlib.compress(b"".join(content)))
        assert code(ihdr(48, 64) + body + chunk(b"IEND", b"")) == expected


def test_pixels_without_their_own_end_are_told():
    whole = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY))
    # The checksum of the chunk is right, that of the compressed pixels is missing or wrong.
    for pixels in (whole[:-4], whole[:-1] + bytes([whole[-1] ^ 1])):
        with pytest.raises(ImageError):
            read_grey(ihdr(48, 64) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def test_the_checksum_of_every_chunk_counts_and_unknown_chunks_do_not():
    words = chunk(b"tEXt", b"Comment\0left hand")
    np.testing.assert_array_equal(read_grey(png(GREY, before=words + chunk(b"zzZz", b"?"))), GREY)
    assert code(png(GREY, before=words[:-1] + bytes([words[-1] ^ 1]))) == "unreadable"


@pytest.mark.parametrize(("bits", "colour"), [(3, 0), (16, 3), (8, 5), (1, 2)])
def test_a_first_chunk_that_describes_no_png_is_told(bits, colour):
    assert code(ihdr(48, 64, bits, colour) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")) == "unreadable"
    assert code(ihdr(0, 64) + chunk(b"IEND", b"")) == "unreadable"


def test_pixels_in_several_chunks_are_one_stream():
    whole = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY))
    parts = b"".join(chunk(b"IDAT", whole[at : at + 100]) for at in range(0, len(whole), 100))
    np.testing.assert_array_equal(read_grey(ihdr(48, 64) + parts + chunk(b"IEND", b"")), GREY)


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("alter", [{1: b""}, {3: b"\x00" * 5}])
def test_a_tiff_with_a_short_strip_is_told(compression, alter):
    with pytest.raises(ImageError):
        read_grey(tiff(GREY, compression=compression, rows_per_strip=16, alter=alter))


def test_a_deflated_strip_with_fewer_rows_than_it_should_have_is_truncated():
    half = zlib.compress(GREY[:8].tobytes())
    assert code(tiff(GREY, compression=8, rows_per_strip=16, alter={2: half})) == "truncated"


def test_a_tiff_that_lists_too_few_strips_is_truncated():
    # Three strips of 16 rows stand for 64.
    assert code(tiff(GREY[:48], rows_per_strip=16, tags={257: 64})) == "truncated"


@pytest.mark.parametrize("form", ["BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
def test_a_file_that_lost_a_tenth_is_an_error(tmp_path, form):
    Image.fromarray(GREY).save(tmp_path / "x", form)
    content = (tmp_path / "x").read_bytes()
    assert code(content[: len(content) * 9 // 10]) in ("truncated", "unreadable", "unsupported")


def test_a_pgm_value_above_its_white_is_damage():
    assert code(b"P5\n2 1\n1000\n\x00\x01\x10\x00") == "unreadable"
    assert code(b"P2\n2 1\n100\n1 200\n") == "unreadable"
    assert code(b"P2\n2 1\n100\n1 x\n") == "unreadable"
    assert code(b"P2\n2 1\n100\n1\n") == "truncated"
    assert code(b"P5\n0 1\n100\n1\n") == "unreadable"
    assert code(b"P5\n1 1\n0\n1\n") == "unreadable"
    assert code(b"P5\n1 x\n0\n1\n") == "unreadable"


@pytest.mark.parametrize("content", [b"P1\n# bits\n4 2\n1010\n0 1 01\n", b"P4\n4 2\n\xa0\x50"])
def test_a_bitmap_of_netpbm_has_1_for_black(content):
    assert read_grey(content).tolist() == [[0, 255, 0, 255], [255, 0, 255, 0]]


def test_numbers_of_plain_files_that_are_none_or_too_large_are_damage():
    for text in (b"P2\n2 1\n100\n1 99999999999\n", b"P2\n2 1\n100\n1 70000\n", b"P2\n2 1\n100\n1 " + b"9" * 2_200_000):
        assert code(text) == "unreadable"


def test_a_plain_file_of_several_blocks_and_comments_is_whole():
    numbers = b" ".join(b"%d" % (n % 251) for n in range(400_000)).replace(b" 77 ", b" # a word\n77 ")
    grey = read_grey(b"P2\n1000 400\n255\n" + numbers)
    np.testing.assert_array_equal(grey.ravel(), np.arange(400_000) % 251)


def test_a_colour_pgm_of_8_bits_keeps_its_colours():
    from edge_runtime.images import read_image
    from tests.edge_runtime.formats.crafted import netpbm

    decoded = read_image(netpbm(np.stack([GREY, GREY, 255 - GREY], -1), 255), colours=True)
    assert decoded.chroma_u8.shape == (48, 48, 2) and decoded.depth_from == "file"
