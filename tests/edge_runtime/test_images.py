"""Every rule about input files: modes, orientation, frames, reduced decoding, damage, size, folders."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError, StorageError
from edge_runtime.images import DECODING_VERSION, find_images, read_grey, read_image
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec

# Grey levels. JPEG at quality 95 and the rounding of luma and chroma move single pixels by this much at most.
JPEG_TOLERANCE = 12
# Grey levels, mean over the image. Scaling in the DCT domain is another antialiasing filter than the one that follows
# a whole decode, and a side that 8 does not divide is rounded up: a shift of up to half a pixel of the reduced image.
REDUCED_DECODE_TOLERANCE = 2.0


def encoded(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def code_of(source: Path | bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read_grey(source)
    return caught.value.code


def png_header(width: int, height: int) -> bytes:
    """The first chunk of a PNG of that size, and an empty one where its pixels should be."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"")


# Modes


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "GIF", "TIFF", "PPM"])
def test_grey_comes_out_as_it_was_stored(radiograph_u8, image_format):
    np.testing.assert_array_equal(read_grey(encoded(Image.fromarray(radiograph_u8), image_format)), radiograph_u8)


def test_black_and_white_becomes_0_and_255(radiograph_u8):
    bilevel = Image.fromarray(radiograph_u8 > 127)
    assert bilevel.mode == "1"
    np.testing.assert_array_equal(read_grey(encoded(bilevel, "PNG")), np.where(radiograph_u8 > 127, 255, 0))


def test_colour_becomes_luma():
    rgb = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    luma = rgb @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2
    assert np.abs(read_grey(encoded(Image.fromarray(rgb), "PNG")) - luma).max() <= 0.51  # rounding, in 16-bit weights


def test_cmyk_of_black_ink_alone_is_grey(radiograph_u8):
    ink = np.zeros((*radiograph_u8.shape, 4), np.uint8)
    ink[..., 3] = 255 - radiograph_u8
    np.testing.assert_array_equal(read_grey(encoded(Image.fromarray(ink, "CMYK"), "TIFF")), radiograph_u8)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_a_jpeg_of_any_mode_is_grey_within_its_losses(radiograph_u8, mode):
    jpeg = encoded(Image.fromarray(radiograph_u8).convert(mode), "JPEG", quality=95)
    assert np.abs(read_grey(jpeg).astype(int) - radiograph_u8).max() <= JPEG_TOLERANCE


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_lies_on_black(radiograph_u8, mode):
    image = Image.fromarray(radiograph_u8).convert(mode)
    alpha = np.full(radiograph_u8.shape, 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    grey = read_grey(encoded(image, "PNG")).astype(int)
    assert not grey[:, :10].any()
    assert np.abs(grey[:, 10:20] - radiograph_u8[:, 10:20] * (128 / 255)).max() <= 1
    np.testing.assert_array_equal(grey[:, 20:], radiograph_u8[:, 20:])


def test_a_transparent_palette_entry_is_black(radiograph_u8):
    image = Image.fromarray(radiograph_u8 // 64, "P")
    image.putpalette([200, 200, 200, 60, 60, 60, 120, 120, 120, 240, 240, 240])
    expected = np.array([0, 60, 120, 240])[radiograph_u8 // 64]
    np.testing.assert_array_equal(read_grey(encoded(image, "PNG", transparency=0)), expected)


def test_a_transparent_grey_value_is_black(radiograph_u8):
    grey = read_grey(encoded(Image.fromarray(radiograph_u8), "PNG", transparency=255))
    np.testing.assert_array_equal(grey, np.where(radiograph_u8 == 255, 0, radiograph_u8))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bit_files_are_scaled_by_the_depth_they_use(radiograph_u8, image_format, bits):
    deep = radiograph_u8.astype(np.uint16) << (bits - 8)
    deep[-1, -1] = (1 << bits) - 1
    grey = read_grey(encoded(Image.fromarray(deep), image_format))
    assert grey[-1, -1] == 255
    np.testing.assert_array_equal(grey[:-1], radiograph_u8[:-1])


def test_big_endian_16_bit_tiff_is_read(radiograph_u8):
    deep = (radiograph_u8.astype(">u2") << 8).astype(">u2")
    tiff = encoded(Image.frombytes("I;16B", deep.shape[::-1], deep.tobytes()), "TIFF")
    np.testing.assert_array_equal(read_grey(tiff), radiograph_u8)


def test_32_bit_integers_count_when_16_bits_hold_them(radiograph_u8):
    deep = Image.fromarray(radiograph_u8.astype(np.int32) << 4)
    assert deep.mode == "I"
    np.testing.assert_array_equal(read_grey(encoded(deep, "TIFF")), radiograph_u8)


@pytest.mark.parametrize("value", [-1, 65_536])
def test_32_bit_integers_beyond_16_bits_are_refused(value):
    assert code_of(encoded(Image.fromarray(np.full((9, 9), value, np.int32)), "TIFF")) == "unsupported"


def test_floating_point_pixels_are_refused(radiograph_u8):
    assert code_of(encoded(Image.fromarray(radiograph_u8.astype(np.float32)), "TIFF")) == "unsupported"


# Orientation and frames


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, lambda stored: stored),
        (2, np.fliplr),
        (3, lambda stored: np.rot90(stored, 2)),
        (4, np.flipud),
        (5, np.transpose),
        (6, lambda stored: np.rot90(stored, -1)),
        (7, lambda stored: np.rot90(stored, 2).T),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_orientation_is_applied(radiograph_u8, orientation, shown, dtype):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = radiograph_u8.astype(dtype) << (8 if dtype is np.uint16 else 0)
    grey = read_grey(encoded(Image.fromarray(stored), "PNG", exif=exif))
    np.testing.assert_array_equal(grey, shown(radiograph_u8))


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "TIFF"])
def test_the_first_frame_counts(radiograph_u8, image_format):
    frames = [Image.fromarray(np.rot90(radiograph_u8, turns)) for turns in (0, 2)]
    animation = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_grey(animation), radiograph_u8)


# Reduced decoding


def smooth(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.rint(128 + 100 * np.sin(x / 40) * np.cos(y / 60)).astype(np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_reduced_decode_answers_as_a_whole_one(mode):
    spec = ModelSpec("cnn", 64, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "radiograph")
    jpeg = encoded(smooth(700, 600).convert(mode), "JPEG", quality=95)
    reduced = read_grey(jpeg, least_side=spec.size)
    assert reduced.shape == (88, 75)
    difference = preprocess(reduced, spec).astype(int) - preprocess(read_grey(jpeg), spec)
    assert np.abs(difference).mean() <= REDUCED_DECODE_TOLERANCE


@pytest.mark.parametrize("size", [(512, 512), (513, 64), (63, 1000), (65, 129), (1, 900), (127, 128), (900, 255)])
def test_a_reduced_decode_stays_above_the_least_side(size):
    height, width = size
    grey = read_grey(encoded(smooth(height, width), "JPEG"), least_side=64)
    assert min(grey.shape) >= min(64, height, width)
    assert abs(grey.shape[1] / grey.shape[0] - width / height) <= 0.03 * width / height


def test_a_png_is_always_decoded_whole(radiograph_u8):
    assert read_grey(encoded(Image.fromarray(radiograph_u8), "PNG"), least_side=8).shape == radiograph_u8.shape


# What cannot be judged


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("least_side", [None, 16])
@pytest.mark.parametrize("part", [0.6, 0.9])
def test_a_truncated_file_is_an_image_error(radiograph_u8, image_format, least_side, part):
    whole = encoded(Image.fromarray(radiograph_u8), image_format)
    with pytest.raises(ImageError) as caught:
        read_grey(whole[: int(len(whole) * part)], least_side)
    expected = {"truncated"} if image_format in ("JPEG", "PNG") else {"truncated", "unreadable", "unsupported"}
    assert caught.value.code in expected


def test_a_missing_file_is_an_image_error(tmp_path):
    assert code_of(tmp_path / "absent.png") == "missing"


def test_a_name_that_no_file_can_have_is_an_image_error():
    assert code_of(Path("null\0character.png")) == "missing"


def test_an_empty_file_is_an_image_error(tmp_path):
    (tmp_path / "empty.png").touch()
    assert code_of(tmp_path / "empty.png") == code_of(b"") == "empty"


def test_a_folder_is_not_an_image(tmp_path):
    assert code_of(tmp_path) == "unsupported"


def test_text_named_png_is_an_image_error(tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    assert code_of(tmp_path / "note.png") == "unsupported"


def test_a_dicom_file_is_known_by_its_content(tmp_path):
    (tmp_path / "hand.png").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(ImageError, match="a DICOM file, but no image"):
        read_grey(tmp_path / "hand.png")


def test_colours_are_told_where_they_are_asked_for_and_leave_the_grey_as_it_is(tmp_path):
    photograph = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    for name in ("x.jpg", "x.png", "x.gif", "x.webp"):
        Image.fromarray(photograph).save(tmp_path / name)
        with_colours = read_image(tmp_path / name, 64, colours=True)
        np.testing.assert_array_equal(with_colours.grey_u8, read_grey(tmp_path / name, 64))
        assert with_colours.chroma_u8.shape[-1] == 2 and np.ptp(with_colours.chroma_u8) > 50
        assert read_image(tmp_path / name, 64).chroma_u8 is None
    Image.fromarray(photograph[..., 0]).save(tmp_path / "grey.jpg")
    assert read_image(tmp_path / "grey.jpg", colours=True).chroma_u8 is None


def test_frames_are_chosen_in_dicom_files_alone(tmp_path):
    Image.new("L", (64, 64)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", frame=1).format == "PNG"
    with pytest.raises(ImageError, match="no frame 2"):
        read_image(tmp_path / "x.png", frame=2)


def test_no_decoder_but_those_meant_sees_a_file(tmp_path):
    # Pillow hands PostScript to Ghostscript, whatever the file is called.
    path = tmp_path / "hand.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    assert code_of(path) == "unsupported"


@pytest.mark.parametrize("size", [(14_000, 10_000), (60_000, 60_000), (1, 99_999_999)])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(size):
    # The file holds no pixels at all: `too_large` and not `truncated` says that none were asked for.
    assert code_of(png_header(*size)) == "too_large"


def test_a_message_names_the_file(tmp_path):
    with pytest.raises(ImageError, match=str(tmp_path / "x.png")):
        read_grey(tmp_path / "x.png")


def test_what_the_system_refuses_is_a_storage_error(tmp_path):
    (tmp_path / "file.png").touch()
    with pytest.raises(StorageError, match="cannot be read"):
        read_grey(tmp_path / "file.png" / "inside.png")


MUTATIONS = 25  # of each file; a hunt with more is one number away


def seed_files(image: Image.Image) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "left hand"
    frames = [image.rotate(90), image.rotate(20)]
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) << 4)
    files = {
        "jpeg": encoded(image, "JPEG", exif=exif),
        "progressive": encoded(image.convert("RGB"), "JPEG", progressive=True),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "png": encoded(image, "PNG", exif=exif),
        "palette": encoded(image.convert("P"), "PNG", transparency=3),
        "png16": encoded(deep, "PNG"),
        "rgba": encoded(image.convert("RGBA"), "PNG"),
        "animated": encoded(image, "PNG", save_all=True, append_images=frames),
        "gif": encoded(image, "GIF", save_all=True, append_images=frames),
        "bmp": encoded(image.convert("RGB"), "BMP"),
        "tiff16": encoded(deep, "TIFF"),
        "webp": encoded(image.convert("RGBA"), "WEBP"),
        "pgm": encoded(image, "PPM"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files[compression] = encoded(image.convert("RGB"), "TIFF", compression=compression)
    return files


def mutated(content: bytes, random_: random.Random) -> bytes:
    """The content with a few bytes changed, removed or added, mostly near its beginning, or cut short."""
    changed = bytearray(content)
    for _ in range(random_.choice([1, 1, 2, 4, 16])):
        at = random_.randrange(len(changed) if random_.random() < 0.4 else min(len(changed), 200))
        kind = random_.random()
        if kind < 0.75:
            changed[at] = random_.choice([0, 1, 127, 128, 255, random_.randrange(256)])
        elif kind < 0.85:
            del changed[at : at + random_.randrange(1, 20)]
        elif kind < 0.95:
            changed[at:at] = random_.randbytes(random_.randrange(1, 9))
        else:
            del changed[max(1, at) :]
        if not changed:
            return b"\x00"
    return bytes(changed)


@pytest.mark.parametrize("kind", sorted(seed_files(Image.new("L", (8, 8)))))
def test_damaged_bytes_raise_nothing_but_an_image_error(radiograph_u8, kind):
    content = seed_files(Image.fromarray(radiograph_u8[:48, :64]))[kind]
    random_ = random.Random(kind)
    judged = 0
    for _ in range(MUTATIONS):
        try:
            grey = read_grey(mutated(content, random_), random_.choice([None, 16]))
        except ImageError:
            continue
        judged += 1
        assert grey.dtype == np.uint8 and grey.ndim == 2
    assert judged < MUTATIONS


def test_warnings_are_dropped_in_every_thread_and_come_back(radiograph_u8):
    tiff = bytearray(encoded(Image.fromarray(radiograph_u8), "TIFF"))
    directory = struct.unpack_from("<I", tiff, 4)[0]
    (entries,) = struct.unpack_from("<H", tiff, directory)
    # The last entry becomes a private tag that claims more bytes than the file has.
    struct.pack_into("<HHII", tiff, directory + 2 + 12 * (entries - 1), 0xC000, 7, 1 << 20, 8)
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(io.BytesIO(tiff)).load()
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        for grey in threads.map(read_grey, [bytes(tiff)] * 40):
            np.testing.assert_array_equal(grey, radiograph_u8)
    assert list(warnings.filters) == before


# Folders


def test_a_folder_is_searched_in_sorted_order(tmp_path):
    for name in (
        "b.PNG",
        "a.jpg",
        "deep/er/c.tiff",
        "refused.jp2",
        "notes.txt",
        "desktop.ini",
        ".hidden.png",
        ".cache/d.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "IM000001").write_bytes(bytes(128) + b"DICM")  # as archives name DICOM files
    found = find_images([tmp_path])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["IM000001", "a.jpg", "b.PNG", "refused.jp2", "deep/er/c.tiff"]


def test_a_file_counts_whatever_its_name(tmp_path):
    odd = tmp_path / ".scan.dat"
    odd.touch()
    assert find_images([odd, tmp_path / "absent.png"]) == [odd, tmp_path / "absent.png"]


def test_a_circle_of_links_ends(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.png").touch()
    (tmp_path / "inner" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert find_images([tmp_path]) == [tmp_path / "inner" / "a.png"]


def test_a_link_to_a_file_counts(tmp_path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(tmp_path / "elsewhere")
    assert find_images([tmp_path / "images"]) == [tmp_path / "images" / "a.png"]


def test_names_that_are_not_text_are_found(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    Path(os.fsdecode(name)).touch()
    assert [os.fsencode(path) for path in find_images([tmp_path])] == [name]


def test_a_name_too_long_for_the_system_does_not_stop_the_search(tmp_path):
    long = tmp_path / ("x" * 300 + ".png")
    assert find_images([long]) == [long]


# Versions

# SHA-256 of what DECODING_VERSION makes of the files below. Where a change of the code changes it, raise the version:
# caches are kept by it. Of lossless files, which every build of Pillow decodes alike. 2 and 3 differ in others.
DECODED = {3: "7fee03bded8e137d7dcdf33ea69f90109e0c7770c276fa6559c39eed45d12b11"}


def test_another_result_of_decoding_asks_for_another_version(radiograph_u8):
    grey = Image.fromarray(radiograph_u8)
    see_through = grey.convert("LA")
    see_through.putalpha(Image.fromarray(255 - radiograph_u8))
    tinted = Image.merge("RGB", [grey, grey.point(lambda value: value // 2), grey.point(lambda value: 255 - value)])
    palette = Image.fromarray(radiograph_u8 // 64, "P")
    palette.putpalette([200, 200, 200, 60, 60, 60, 120, 120, 120, 240, 240, 240])
    turned = Image.Exif()
    turned[0x0112] = 6
    files = [
        *(encoded(image, "PNG") for image in (grey, see_through, tinted, palette)),
        encoded(Image.fromarray(radiograph_u8.astype(np.uint16) * 16), "TIFF"),
        encoded(grey, "PNG", exif=turned),
    ]
    digest = hashlib.sha256()
    for file in files:
        decoded = read_grey(file)
        digest.update(f"{decoded.shape}".encode() + decoded.tobytes())
    assert digest.hexdigest() == DECODED[DECODING_VERSION]
