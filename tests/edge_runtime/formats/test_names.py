"""What cannot be judged is called by its name, so that one knows what to convert; nothing is guessed by a suffix."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey


def refusal(content: bytes) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    return caught.value.code, str(caught.value)


def ftyp(major: bytes, *others: bytes) -> bytes:
    body = b"ftyp" + major + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(200)


def jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    image = Image.linear_gradient("L")
    image.convert(options.pop("mode", "L")).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_frame(marker: int = 0xC0, bits: int = 8) -> bytes:
    content = bytearray(jpeg())
    at = content.index(b"\xff\xc0")
    content[at + 1], content[at + 4] = marker, bits
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"mif1", b"heic"), "HEIC"),
        (ftyp(b"avif", b"mif1"), "AVIF"),
        (ftyp(b"mif1", b"miaf", b"avif"), "AVIF"),
        (ftyp(b"isom", b"mp42"), "MP4"),
        (ftyp(b"crx "), "CR3"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + ftyp(b"jp2 "), "JPEG 2000"),
        (b"\xff\x4f\xff\x51" + bytes(100), "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"II\xbc\x01" + bytes(50), "JPEG XR"),
        (with_frame(bits=12), "12 bits"),
        (with_frame(bits=16), "16 bits"),
        (with_frame(0xC1, 12), "12-bit JPEG"),
        (with_frame(0xC3), "lossless JPEG"),
        (with_frame(0xC9), "arithmetic"),
        (with_frame(0xF7), "JPEG-LS"),
        (b"8BPS" + bytes(50), "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"%!PS-Adobe", "PostScript"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"\x1f\x8b" + bytes(30), "gzip"),
        (b"P7\nWIDTH 1", "PAM"),
        (b"Pf\n1 1\n-1.0\n", "PFM"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_a_format_that_is_not_read_is_named(content, name):
    code, message = refusal(content)
    assert code == "unsupported" and name in message and "save it" in message


@pytest.mark.parametrize(
    "content", [b"RIFF\x10\0\0\0WAVEfmt " + bytes(20), b"II\x2a", b"words", b"P5", b"BM", b"\x89PNG"]
)
def test_what_is_nothing_known_or_only_begins_is_an_error(content):
    assert refusal(content)[0] in ("unsupported", "truncated", "unreadable")


def test_segments_that_lead_nowhere_are_told():
    whole = jpeg()
    cases = {
        whole[:2] + b"\0" + whole[2:]: "a marker was expected",
        whole[:2] + b"\xff\xe0\x00\x01" + whole[2:]: "lead nowhere",
        whole[:2] + b"\xff\xd9": "before its pixels",
        b"\xff\xd8\xff\xda\x00\x03\x01" + bytes(5) + b"\xff\xd9": "before their size",
        b"\xff\xd8\xff\xc0\x00\x04\x08\x00": "too short",
        b"\xff\xd8" + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 257: "lead nowhere",
    }
    for content, says in cases.items():
        assert re.search(says, refusal(content)[1]), says


def test_fill_bytes_and_markers_without_length_are_skipped():
    whole = jpeg()
    np.testing.assert_array_equal(read_grey(whole[:2] + b"\xff\xff\xff\xff" + whole[3:]), read_grey(whole))


def test_a_jpeg_that_was_written_by_half_into_its_full_length_is_truncated():
    whole = jpeg(quality=95)
    half = whole[: len(whole) * 2 // 3]
    assert refusal(half + bytes(len(whole) - len(half)))[0] == "truncated"


def test_thousands_of_scans_of_a_large_image_are_refused():
    whole = jpeg(mode="RGB", progressive=True)
    scan = whole.rindex(b"\xff\xda")
    end = whole.rindex(b"\xff\xd9")
    many = bytearray(whole[:end] + whole[scan:end] * 500 + whole[end:])
    at = many.index(b"\xff\xc2")
    many[at + 5 : at + 9] = (2000).to_bytes(2, "big") * 2
    code, message = refusal(bytes(many))
    assert code == "too_large" and "scans" in message


def test_the_end_of_a_jpeg_may_be_followed_by_what_a_camera_adds():
    whole = jpeg()
    for more in (b"\0", b"more" * 3000, b"\xff" + bytes(3_000_000)):
        np.testing.assert_array_equal(read_grey(whole + more), read_grey(whole))
    cut = whole[:-2] + bytes(3_000_000)
    assert refusal(cut)[0] == "truncated"
