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
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.errors import ImageError, StorageError

DECODING_VERSION = (
    1  # of the rules above: raise it where the same file gives other pixels, and caches forget the old ones
)

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".pnm"}
)
MAX_PIXELS = 100_000_000  # a larger image would not fit beside a network in the memory of a small Pi
BIT_DEPTHS = (8, 10, 12, 14, 16)  # of detectors; what a 16-bit file may hold
STANDARD_INPUT = "-"

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
_DICOM_MAGIC_OFFSET = 128
_DICOM_MAGIC = b"DICM"
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


class _WarningsOff:
    """Drops Python's warnings while any thread is inside.

    `warnings.catch_warnings` swaps a state of the whole process: threads that overlap would leave it swapped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0  # threads

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings(action="ignore")
                self._before.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_warnings_off = _WarningsOff()


def read_grey(source: Path | bytes, least_side: int | None = None) -> NDArray[np.uint8]:
    """uint8 (H, W), grey 0 to 255.

    Args:
        source: path of an image file, or the bytes of one.
        least_side: a JPEG may be decoded reduced as long as both sides stay at least this many pixels; None: whole.

    Raises:
        ImageError: missing, empty, truncated, too large, or not an image that is understood.
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
        return _decode(stream, name, least_side)


def _decode(stream: BinaryIO, name: str, least_side: int | None) -> NDArray[np.uint8]:
    try:
        # Warnings are about metadata that nothing here reads, or about a size that our own limit decides on.
        with _warnings_off, _open(stream, name) as image:
            if least_side is not None:
                image.draft("L", (least_side, least_side))
            image.load()
            return _to_grey(_upright(image), name)
    except _DECODER_ERRORS as error:
        # `truncated` is worth telling apart: such a file can often be fetched again whole.
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise ImageError(f"{name}: {code} image: {error}", code) from error


def _open(stream: BinaryIO, name: str) -> Image.Image:
    head = stream.read(_DICOM_MAGIC_OFFSET + len(_DICOM_MAGIC))
    stream.seek(0)
    if not head:
        raise ImageError(f"{name}: the file is empty", "empty")
    if head[_DICOM_MAGIC_OFFSET:] == _DICOM_MAGIC:
        raise ImageError(f"{name}: a DICOM file; export it as PNG first", "unsupported")
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


def _to_grey(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode in _SIXTEEN_BIT_MODES:
        return _scale_to_8_bits(np.asarray(image), name)
    if image.mode == "F":
        raise ImageError(
            f"{name}: floating-point pixels have no defined white; save it with 8 or 16 bits", "unsupported"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    if image.mode == "P":
        image = image.convert("RGB")
    return np.array(image if image.mode == "L" else image.convert("L"))


def _scale_to_8_bits(values: NDArray[np.integer], name: str) -> NDArray[np.uint8]:
    """uint8 of the same shape: the values shifted down by the smallest detector bit depth that holds them all."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 1 << BIT_DEPTHS[-1]:
        raise ImageError(f"{name}: pixel values from {low} to {high}; 0 to 65535 was expected", "unsupported")
    depth = next(depth for depth in BIT_DEPTHS if high < 1 << depth)
    return (values >> (depth - 8)).astype(np.uint8)


def find_images(paths: list[Path]) -> list[Path]:
    """The image files that paths name: files as they are, folders searched through, in sorted order.

    Files in folders count by their suffix, hidden ones and links that lead back into their own folder do not.

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
        found.extend(Path(parent, name) for name in sorted(files) if is_visible_image(name))
    return found


def is_visible_image(name: str) -> bool:
    """Whether a file in a folder counts as an image, by its name alone."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
