"""GIF, WebP and BMP: what their first bytes say, right or wrong."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.formats import simple
from edge_runtime.formats.header import FormatError
from edge_runtime.images import read_grey

GREY = np.random.default_rng(4).integers(0, 256, (40, 56), dtype=np.uint8)


def saved(form: str, mode: str = "L", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("GIF", "L", {}),
        ("GIF", "P", {"comment": b"left hand"}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"exif": b"Exif\0\0"}),
        ("BMP", "1", {}),
        ("BMP", "L", {}),
        ("BMP", "RGB", {}),
        ("BMP", "RGBA", {}),
    ],
)
def test_the_header_tells_the_size_that_comes_out(form, mode, options):
    content = saved(form, mode, **options)
    header = getattr(simple, f"read_{form.lower()}_header")(io.BytesIO(content))
    assert (header.width, header.height) == (56, 40)
    assert read_grey(content).shape == (40, 56)


def test_a_bitmap_of_os2_is_read():
    pixels = b"".join(row.tobytes().ljust(56, b"\0") for row in GREY[::-1])
    palette = b"".join(bytes([value] * 3) for value in range(256))
    head = struct.pack("<IHHHH", 12, 56, 40, 1, 8)
    content = b"BM" + struct.pack("<IHHI", 26 + 768 + len(pixels), 0, 0, 26 + 768) + head + palette + pixels
    np.testing.assert_array_equal(read_grey(content), GREY)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"GIF89a" + bytes(7) + b";", "truncated"),
        (b"GIF89a" + bytes(7) + b"!", "truncated"),
        (b"RIFF" + struct.pack("<I", 30) + b"WEBPXXXX" + bytes(30), "unreadable"),
        (b"RIFF" + struct.pack("<I", 3000) + b"WEBPVP8 " + bytes(30), "truncated"),
        (b"RIFF" + struct.pack("<I", 30) + b"WAVEfmt " + bytes(30), "unsupported"),
        (b"BM" + bytes(10), "truncated"),
        (b"BM" + bytes(40), "unreadable"),
    ],
)
def test_what_they_lack_is_told(content, code):
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    assert caught.value.code == code


def test_a_comment_of_megabytes_is_too_large():
    content = b"GIF89a" + bytes(7) + b"!\xfe" + (b"\xff" + bytes(255)) * 5000
    with pytest.raises(FormatError) as caught:
        simple.read_gif_header(io.BytesIO(content))
    assert caught.value.code == "too_large"


def test_headers_that_contradict_each_other_are_damage(monkeypatch):
    # What our reader and Pillow see of one file must be one size, or limits would be judged of another image.
    content = bytearray(saved("WEBP", "RGBA", exif=b"Exif\0\0"))
    content[24:27] = (100).to_bytes(3, "little")
    with pytest.raises(ImageError):
        read_grey(bytes(content))
