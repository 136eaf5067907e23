"""What one image may ask of the machine: refused from the header, or decoded within 400 MB."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey, read_image
from edge_runtime.limits import DEFAULT_LIMITS, Limits
from tests.edge_runtime.formats.crafted import PNG_SIGNATURE, chunk, netpbm, png, tiff

MOST_BYTES = 400_000_000  # of `edge-infer` at its peak, with any input
REFUSED_S = 0.2  # from the header; a hundred times what it takes, for a busy machine
SMALL = np.zeros((4, 4), np.uint8)


def png_of(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG that says it is so large, with pixels that inflate to a megabyte."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int, mode: str = "L", **options) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new(mode, (16, 16)).save(buffer, "JPEG", **options)
    content = bytearray(buffer.getvalue())
    at = content.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + head + bytes(100)


def gif_of(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame


def webp_of(width: int, height: int) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "content",
    [
        png_of(1, 99_999_999),
        png_of(32_769, 1),
        png_of(32_768, 32_768),
        png_of(9000, 8000, 8, 6),
        png_of(6000, 6000, 16, 6),
        png_of(9000, 9000, 16, 0),
        jpeg_of(20_000, 20_000),
        jpeg_of(8000, 8000, "RGB", progressive=True),
        tiff(SMALL, tags={256: 30_000, 257: 30_000}),
        tiff(SMALL, tags={256: 2**31, 257: 1}),
        tiff(SMALL, compression=8, tile=16, tags={322: 32_000, 323: 32_000}),
        bmp_of(30_000, -30_000),
        gif_of(30_000, 30_000),
        webp_of(16_383, 16_383),
        netpbm(SMALL, 255).replace(b"4 4", b"30000 30000"),
        netpbm(SMALL, 65_535, plain=True).replace(b"4 4", b"99999999 1"),
    ],
)
def test_what_is_too_large_is_refused_at_once(content):
    import time

    begin = time.perf_counter()
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    assert caught.value.code == "too_large", caught.value
    assert time.perf_counter() - begin < REFUSED_S


def test_limits_are_an_argument():
    content = png(np.zeros((300, 200), np.uint8))
    assert read_image(content).grey_u8.shape == (300, 200)
    for limits in (Limits(decoded_bytes=100_000), Limits(side=299), Limits(file_bytes=50)):
        with pytest.raises(ImageError) as caught:
            read_image(content, limits=limits)
        assert caught.value.code == "too_large"
    large = png_of(40_000, 1)
    with pytest.raises(ImageError, match="more rows than its header says"):
        read_image(large, limits=Limits(side=50_000))


def test_a_file_that_lies_in_memory_counts_too():
    content = png(np.zeros((300, 200), np.uint8), before=chunk(b"zzZz", bytes(1_000_000)))
    limits = Limits(decoded_bytes=800_000)
    with pytest.raises(ImageError) as caught:
        read_image(content, limits=limits)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff"])
def test_megabytes_of_what_is_no_pixel_are_refused(kind):
    filler = bytes(17 << 20)
    content = {
        "png": png(SMALL, before=chunk(b"zzZz", filler)),
        "jpeg": b"\xff\xd8" + b"".join(b"\xff\xfe\xff\xff" + bytes(65_533) for _ in range(270)),
        "gif": b"GIF89a" + bytes(7) + b"!\xfe" + (b"\xff" + bytes(255)) * 5000 + b"\x00;",
        "tiff": tiff(SMALL, tags={50_000: 17 << 20}).replace(
            struct.pack("<HHII", 50_000, 4, 1, 17 << 20), struct.pack("<HHII", 50_000, 7, 17 << 20, 8)
        ),
    }[kind]
    with pytest.raises(ImageError) as caught:
        read_grey(content)
    assert caught.value.code in ("too_large", "unreadable")


# Files as large as the limits allow, each through a process of its own


def as_large_as_allowed(folder: Path, kind: str) -> Path:
    """A file of one kind that takes just less than all that may be decoded."""

    def side(bytes_per_pixel: int) -> int:
        return int((DEFAULT_LIMITS.decoded_bytes * 0.99 / bytes_per_pixel) ** 0.5)

    path, black = folder / f"x.{kind.partition(' ')[0]}", np.zeros
    if kind == "png grey":
        path.write_bytes(png(black((side(2), side(2)), np.uint8)))
    elif kind == "png deep":
        path.write_bytes(png(black((side(5), side(5)), np.uint16)))
    elif kind == "png deep colours":
        path.write_bytes(png(black((side(12), side(12), 4), np.uint16)))
    elif kind == "tif deflated":
        path.write_bytes(tiff(black((side(7), side(7), 3), np.uint8), compression=8, rows_per_strip=64))
    elif kind == "jpg progressive":
        Image.new("RGB", (side(11), side(11))).save(path, progressive=True)
    elif kind == "webp":
        Image.new("RGBA", (side(20), side(20))).save(path, method=0, quality=1)
    else:
        Image.new("P", (side(7), side(7))).save(path)
    return path


def peak_of(path: Path, bundle: Path) -> int:
    code = (
        "from edge_runtime.cli import main\nfrom edge_runtime.process_facts import peak_memory_bytes\n"
        "try: main()\nfinally:\n    import sys\n    print(peak_memory_bytes(), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--json", "--model", bundle, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["decision"]
    return int(done.stderr)


@pytest.mark.parametrize("kind", ["png deep colours", "webp"])
def test_the_largest_files_are_judged_within_400_mb(tiny_bundle, tmp_path, kind):
    assert peak_of(as_large_as_allowed(tmp_path, kind), tiny_bundle) < MOST_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png grey", "png deep", "tif deflated", "jpg progressive", "gif"])
def test_the_largest_files_of_all_kinds_are_judged_within_400_mb(tiny_bundle, tmp_path, kind):
    assert peak_of(as_large_as_allowed(tmp_path, kind), tiny_bundle) < MOST_BYTES
