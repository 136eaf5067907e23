"""Image file to grey uint8: the decoder of all that is judged, trained on or compared; rules about files live here.

The device, training, calibration, parity and the audit decode here. Only whether a file is coloured is looked up
elsewhere (`train.audit.colour`), because grey no longer tells.

Rules: the first frame counts; EXIF orientation is applied; colour becomes luma (ITU-R 601-2); transparency lies on
black; 16-bit images are scaled by the bit depth that they use (10, 12, 14 or 16), so a 12-bit radiograph in a 16-bit
file is not nearly black. A JPEG far larger than needed is decoded at 1/2, 1/4 or 1/8, in training as well.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.dicom import is_dicom, read_dicom
from edge_runtime.dicom.files import MOST_FILE_BYTES, PREFIX_BYTES
from edge_runtime.errors import ImageError, StorageError
from edge_runtime.python_warnings import warnings_off

DECODING_VERSION = (
    2  # of the rules above: raise it where the same file gives other pixels, and caches forget the old ones
)

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .bmp .gif .tif .tiff .webp .pgm .pnm .dcm .dicom".split()  # as files in folders count
)
MAX_PIXELS = 100_000_000  # a larger image would not fit beside a network in the memory of a small Pi
BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors; what a 16-bit file may hold
STANDARD_INPUT = "-"
DICOM = "DICOM"  # the format

# First bytes of a file -> format and Pillow's plugin; names do not count. No other decoder gets to see a file: the
# one for EPS, for instance, starts Ghostscript. And one is imported, not all: the others delay the first answer.
_PLUGINS = {
    b"\x89PNG": ("PNG", "PngImagePlugin"),
    b"\xff\xd8": ("JPEG", "JpegImagePlugin"),
    b"BM": ("BMP", "BmpImagePlugin"),
    b"GIF8": ("GIF", "GifImagePlugin"),
    b"II": ("TIFF", "TiffImagePlugin"),
    b"MM": ("TIFF", "TiffImagePlugin"),
    b"RIFF": ("WEBP", "WebPImagePlugin"),
    b"P": ("PPM", "PpmImagePlugin"),
}
# Pillow's decoders raise all of these on damaged files.
_DECODER_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)

_PREFIX_BYTES = 16  # what Pillow shows a plugin before it may open a file
_CHROMA_SIDE = 48  # pixels: whether an image has colours is no fine detail
_EXIF_ORIENTATION = 0x0112
# Value -> what undoes it (EXIF 2.3, 4.6.4 A).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})


@dataclass(frozen=True)
class DecodedImage:
    """One image and what was noticed while it was decoded."""

    grey_u8: NDArray[np.uint8]  # (H, W), 0 black
    format: str  # what the file is by its content: Pillow's name of it, or `DICOM`
    mode: str  # of its pixels: Pillow's name of it, or DICOM's photometric interpretation
    chroma_u8: NDArray[np.uint8] | None = None  # (h, w, 2), Cb and Cr, small; None: grey, or not asked for
    warnings: tuple[str, ...] = ()  # for people


def read_grey(source: Path | bytes, least_side: int | None = None) -> NDArray[np.uint8]:
    """uint8 (H, W), grey 0 to 255: as `read_image`."""
    return read_image(source, least_side).grey_u8


def read_image(
    source: Path | bytes, least_side: int | None = None, frame: int | None = None, colours: bool = False
) -> DecodedImage:
    """The decoded image.

    Args:
        source: path of an image file, or the bytes of one.
        least_side: a JPEG may be decoded reduced as long as both sides stay at least this many pixels; None: whole.
        frame: which one of several in a DICOM file, from 1; None: there is but one.
        colours: whether to keep its colours, small.

    Raises:
        ImageError: missing, empty, truncated, too large, or not an image that is understood.
        DependencyError: a DICOM file, and what reads it is not installed.
        StorageError: the operating system refused to read the file.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    try:
        stream: BinaryIO = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    except (FileNotFoundError, ValueError) as error:  # ValueError: a null character, which no name can have
        raise ImageError(f"{name}: no such file", "missing") from error
    except IsADirectoryError as error:
        raise ImageError(f"{name}: a folder, not an image file", "unsupported") from error
    except OSError as error:
        raise StorageError(f"{name}: cannot be read: {error.strerror}") from error
    with stream:
        head = stream.read(PREFIX_BYTES)
        if is_dicom(head):
            stream.seek(0)
            found = read_dicom(stream.read(MOST_FILE_BYTES + 1), name, frame)
            return DecodedImage(found.grey_u8, DICOM, found.photometric, found.chroma_u8, found.warnings)
        if frame not in (None, 1):
            raise ImageError(f"{name}: no frame {frame}: frames are chosen in DICOM files alone", "unsupported")
        stream.seek(0)
        return _decode(stream, head, name, least_side, colours)


def _decode(stream: BinaryIO, head: bytes, name: str, least_side: int | None, colours: bool) -> DecodedImage:
    try:
        # Warnings are about metadata that nothing here reads, or about a size that our own limit decides on.
        with warnings_off, _open(stream, head, name) as image:
            form, mode = image.format or "unknown", image.mode
            is_colour_jpeg = form in ("JPEG", "MPO") and mode != "L"
            if least_side is not None:
                image.draft("L", (least_side, least_side))
            image.load()
            grey_u8, chroma_u8 = _to_grey(_upright(image), name, colours and not is_colour_jpeg)
            if colours and is_colour_jpeg:
                chroma_u8 = _chroma_of_jpeg(stream, head)
            return DecodedImage(grey_u8, form, mode, chroma_u8)
    except _DECODER_ERRORS as error:
        # `truncated` is worth telling apart: such a file can often be fetched again whole.
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise ImageError(f"{name}: {code} image: {error}", code) from error


def _chroma_of_jpeg(stream: BinaryIO, head: bytes) -> NDArray[np.uint8] | None:
    """Decoded apart, at an eighth of the size: the grey must be the same whether colours are asked for or not."""
    stream.seek(0)
    image = _opened(stream, head)
    if image is None:
        return None
    image.draft("RGB", (_CHROMA_SIDE, _CHROMA_SIDE))
    return _chroma(image)


def _open(stream: BinaryIO, head: bytes, name: str) -> Image.Image:
    if not head:
        raise ImageError(f"{name}: the file is empty", "empty")
    image = _opened(stream, head)
    if image is None:
        raise ImageError(f"{name}: not an image of a known format", "unsupported")
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: more than {MAX_PIXELS // 1_000_000} megapixels; scale it down first", "too_large")
    return image


def _opened(stream: BinaryIO, head: bytes) -> Image.Image | None:
    """The image, no pixel of it decoded; None where no decoder takes it."""
    found = next((entry for magic, entry in _PLUGINS.items() if head.startswith(magic)), None)
    if found is None:
        return None
    form, plugin = found
    importlib.import_module(f"PIL.{plugin}")
    # As Image.open does, which would import the common plugins first.
    factory, accepts = Image.OPEN[form]
    if accepts is not None and accepts(head[:_PREFIX_BYTES]) is not True:
        return None
    try:
        return factory(stream, "")
    except (SyntaxError, IndexError, TypeError, struct.error):
        return None


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says; itself where that says nothing, since each copy of a large one counts."""
    turn = _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _to_grey(image: Image.Image, name: str, colours: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Grey, and the colours where they are asked for and there are any."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return _scale_to_8_bits(np.asarray(image), name), None
    if image.mode == "F":
        raise ImageError(
            f"{name}: floating-point pixels have no defined white; save it with 8 or 16 bits", "unsupported"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    if image.mode == "P":
        image = image.convert("RGB")
    chroma_u8 = _chroma(image) if colours and image.mode not in ("L", "1") else None
    return np.array(image if image.mode == "L" else image.convert("L")), chroma_u8


def _chroma(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (_CHROMA_SIDE, _CHROMA_SIDE, 2), Cb and Cr of any image in colour."""
    small = image.resize((_CHROMA_SIDE, _CHROMA_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small.convert("RGB").convert("YCbCr"))[..., 1:]


def _scale_to_8_bits(values: NDArray[np.integer], name: str) -> NDArray[np.uint8]:
    """uint8 of the same shape: the values shifted down by the smallest detector bit depth that holds them all."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 1 << BIT_DEPTHS[-1]:
        raise ImageError(f"{name}: pixel values from {low} to {high}; 0 to 65535 was expected", "unsupported")
    depth = next(depth for depth in BIT_DEPTHS if high < 1 << depth)
    return (values >> (depth - 8)).astype(np.uint8)


def find_images(paths: list[Path]) -> list[Path]:
    """The image files that paths name: files as they are, folders searched through, in sorted order.

    Files in folders count by their suffix, DICOM files also by their content, for many have none; hidden files and
    links that lead back into their own folder do not.

    Raises:
        StorageError: a folder cannot be listed.
    """
    found: list[Path] = []
    for path in paths:
        # Unlike Path.is_dir, this does not raise for a name that is too long or lies where nothing may be read:
        # one such path must not keep the others from being judged.
        found.extend(_images_below(path) if os.path.isdir(path) else [path])
    return found


def _images_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise StorageError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found: list[Path] = []
    # Links to folders are not followed: a circle of them would never end.
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(
            Path(parent, name)
            for name in sorted(files)
            if is_visible_image(name) or (not name.startswith(".") and is_dicom_file(os.path.join(parent, name)))
        )
    return found


def is_visible_image(name: str) -> bool:
    """Whether a file in a folder counts as an image, by its name alone."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def is_dicom_file(path: str) -> bool:
    """Whether a file is DICOM by its content; False where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False  # reading from a pipe could wait for ever
        with open(path, "rb") as stream:
            return is_dicom(stream.read(PREFIX_BYTES))
    except OSError:
        return False
