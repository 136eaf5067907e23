"""An image with 16 bits a sample and its twin with 8 are the same radiograph, in every mode that files have."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey, read_image
from tests.edge_runtime.formats.crafted import netpbm, png, tiff

ONE_STEP = 1  # of grey: 8 bits are cut from 16 before or after colours are weighed and laid on black
RNG = np.random.default_rng(11)
HEIGHT, WIDTH = 50, 40


def samples(bits: int, channels: int) -> np.ndarray:
    """uint16 (H, W) or (H, W, channels), smooth, over the whole range; alpha from 0 to opaque where there is any."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [0.5 + 0.5 * np.sin(x / (7 + 3 * channel) + channel) * np.cos(y / 13) for channel in range(channels)]
    deep = np.rint(np.stack(waves, -1) * ((1 << bits) - 1)).astype(np.uint16)
    return deep[..., 0] if channels == 1 else deep


def shallow(deep: np.ndarray) -> np.ndarray:
    return (deep >> 8).astype(np.uint8)


def difference(first: bytes, second: bytes) -> int:
    return int(np.abs(read_grey(first).astype(int) - read_grey(second)).max())


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("row_filter", [0, 1])
def test_png(channels, row_filter):
    deep = samples(16, channels)
    assert difference(png(deep, row_filter=row_filter), png(shallow(deep))) <= ONE_STEP


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("rows_per_strip", [None, 7])
def test_tiff(channels, order, compression, rows_per_strip):
    deep = samples(16, channels)
    form = {"order": order, "compression": compression, "rows_per_strip": rows_per_strip}
    assert difference(tiff(deep, **form), tiff(shallow(deep), **form)) <= ONE_STEP


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_a_tiff_whose_zero_is_white(order, compression):
    deep = samples(16, 1)
    white_is_zero = tiff(deep, photometric=0, order=order, compression=compression)
    assert difference(white_is_zero, tiff(shallow(deep), photometric=0, order=order)) <= ONE_STEP
    assert difference(white_is_zero, png(255 - shallow(deep))) <= ONE_STEP


def test_a_tiff_of_12_bits_whose_zero_is_white():
    deep = samples(12, 1)
    assert difference(tiff(deep, photometric=0), png((255 - (deep >> 4)).astype(np.uint8))) <= ONE_STEP


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_netpbm(channels, plain):
    deep = samples(16, channels)
    assert difference(netpbm(deep, 65_535, plain), netpbm(shallow(deep), 255, plain)) <= ONE_STEP


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_of_a_png_is_black_in_both(channels):
    deep = samples(16, channels) & 0xFF00  # so that both know the same colour
    deep[10:20, 10:20] = 0x8000
    colour = (0x80,) * channels
    see_through = png(deep, transparent=tuple(value << 8 for value in colour))
    twin = png(shallow(deep), transparent=colour)
    assert difference(see_through, twin) <= ONE_STEP
    assert not read_grey(see_through)[10:20, 10:20].any()


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("bits", [12, 14])
def test_the_low_bytes_count(channels, bits):
    deep = samples(bits, channels)
    if channels in (2, 4):
        deep[..., -1] = 65_535
    expected = shallow(deep << (16 - bits))
    if channels in (2, 4):
        expected[..., -1] = 255
    assert difference(png(deep), png(expected)) <= ONE_STEP
    assert read_image(png(deep)).depth == bits


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_orientation_counts_in_both(form, channels):
    deep = samples(16, channels)
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(shallow(deep)).save(buffer, form, exif=exif)
    twin = read_grey(buffer.getvalue())
    assert twin.shape == (WIDTH, HEIGHT)
    if form == "TIFF":
        turned = tiff(deep, tags={274: 6})
    else:
        from tests.edge_runtime.formats.crafted import chunk

        turned = png(deep, before=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    assert np.abs(read_grey(turned).astype(int) - twin).max() <= ONE_STEP


def test_an_interlaced_png():
    # Pillow writes none: seven passes, each a small image of its own (Adam7).
    import struct
    import zlib

    from tests.edge_runtime.formats.crafted import PNG_SIGNATURE, chunk

    deep = samples(16, 3)
    raw = b""
    for left, top, step_x, step_y in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        for row in deep[top::step_y, left::step_x]:
            raw += b"\0" + row.astype(">u2").tobytes()
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 1)
    interlaced = PNG_SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read_grey(interlaced), read_grey(png(deep)))


def test_deep_colours_that_lie_apart_are_refused_by_name():
    with pytest.raises(ImageError, match="whose colours lie apart"):
        read_grey(tiff(samples(16, 3), tags={284: 2}))


def test_colours_of_deep_images_are_told():
    assert read_image(png(samples(16, 3)), colours=True).chroma_u8.shape == (48, 48, 2)
    assert read_image(png(samples(16, 2)), colours=True).chroma_u8 is None
    assert read_image(netpbm(samples(16, 3), 65_535), colours=True).chroma_u8.shape == (48, 48, 2)
