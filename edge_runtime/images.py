"""Image file to grey uint8: the decoder of all that is judged, trained on or compared; rules about files live here.

The device, training, calibration, parity and the audit decode here. Only whether a file is coloured is looked up
elsewhere (`train.audit.colour`), because grey no longer tells.

Rules: the first frame counts; EXIF orientation is applied; colour becomes luma (ITU-R 601-2); transparency lies on
black; 16-bit images are scaled by the depth that the file declares, else by the one (10, 12, 14 or 16 bits) that nearly
all pixels fit into (`depth.py`). A file that says itself that it is damaged is refused, though a decoder would take it
(`formats/`). A JPEG far larger than needed is decoded at 1/2, 1/4 or 1/8, in training as well.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from edge_runtime.dicom import is_dicom, read_dicom
from edge_runtime.dicom.files import MOST_FILE_BYTES, PREFIX_BYTES
from edge_runtime.errors import ImageError
from edge_runtime.formats.header import FormatError, Header, check_limits
from edge_runtime.formats.signatures import NETPBM, format_of, unknown_format
from edge_runtime.image_files import STANDARD_INPUT as STANDARD_INPUT
from edge_runtime.image_files import SUFFIXES as SUFFIXES
from edge_runtime.image_files import find_images as find_images
from edge_runtime.image_files import is_dicom_file as is_dicom_file
from edge_runtime.image_files import is_visible_image as is_visible_image
from edge_runtime.image_files import open_image_file
from edge_runtime.limits import DEFAULT_LIMITS, Limits
from edge_runtime.python_warnings import warnings_off

DECODING_VERSION = (
    3  # of the rules above: raise it where the same file gives other pixels, and caches forget the old ones
)
DICOM = "DICOM"  # the format
PHANTOM_SOFTWARE = "fracture-edge phantom"  # text `Software` of a PNG that holds a generated image
BY_FILE = "file"  # where the depth is known from: its samples have no more than 8 bits

# Format -> module of edge_runtime.formats, function that reads the header, function that looks for damage.
_READERS = {
    "PNG": ("png", "read_header"),
    "JPEG": ("jpeg", "read_header"),
    "TIFF": ("tiff", "read_header"),
    "GIF": ("simple", "read_gif_header"),
    "WEBP": ("simple", "read_webp_header"),
    "BMP": ("simple", "read_bmp_header"),
}
# Pillow's decoders raise all of these on damaged files.
_DECODER_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, OverflowError, MemoryError),
    *(AttributeError, AssertionError, RuntimeError, ArithmeticError, struct.error, zlib.error),
    Image.DecompressionBombError,
)

_ACCEPTED_BYTES = 16  # what Pillow shows a plugin before it may open a file
_CHROMA_SIDE = 48  # pixels: whether an image has colours is no fine detail
_PIECE = 1 << 20  # pixels made grey at a time, so that a large image is not held in colour twice
_EXIF_ORIENTATION = 0x0112
# Value -> the grey image as it is to be shown, seen as it is stored (EXIF 2.3, 4.6.4 A).
_STORED_VIEWS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda shown: np.rot90(shown, 2).T,
    8: lambda shown: np.rot90(shown, -1),
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
    depth: int = 8  # bits of a pixel that mean something
    depth_from: str = (
        BY_FILE  # what decided which value is white: a tag, `values`, or `file` where 8 bits leave no doubt
    )
    is_phantom: bool = False  # a PNG that says it was drawn by this project


@dataclass(frozen=True)
class _Request:
    """What is asked of the decoder."""

    least_side: int | None
    colours: bool
    limits: Limits
    held_bytes: int  # of the file itself, where it lies in memory


def read_grey(source: Path | bytes, least_side: int | None = None) -> NDArray[np.uint8]:
    """uint8 (H, W), grey 0 to 255: as `read_image`."""
    return read_image(source, least_side).grey_u8


def read_image(
    source: Path | bytes,
    least_side: int | None = None,
    frame: int | None = None,
    colours: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> DecodedImage:
    """The decoded image.

    Args:
        source: path of an image file, or the bytes of one.
        least_side: a JPEG may be decoded reduced as long as both sides stay at least this many pixels; None: whole.
        frame: which one of several in a DICOM file, from 1; None: there is but one.
        colours: whether to keep its colours, small.
        limits: what the image may ask of this machine.

    Raises:
        ImageError: missing, empty, truncated, damaged, too large, or not an image that is understood.
        DependencyError: a DICOM file, and what reads it is not installed.
        StorageError: the operating system refused to read the file.
    """
    name = str(source) if isinstance(source, Path) else "standard input"
    with open_image_file(source, name, limits) as stream:
        head = stream.read(PREFIX_BYTES)
        if is_dicom(head):
            stream.seek(0)
            most_bytes = limits.decoded_bytes // 4  # three copies, and the file beside them
            found = read_dicom(stream.read(MOST_FILE_BYTES + 1), name, frame, most_bytes)
            notes = (found.photometric, found.chroma_u8, found.warnings, found.depth, found.depth_from)
            return DecodedImage(found.grey_u8, DICOM, *notes)
        if frame not in (None, 1):
            raise ImageError(f"{name}: no frame {frame}: frames are chosen in DICOM files alone", "unsupported")
        held = len(source) if isinstance(source, bytes) else 0
        return _decode(stream, head, name, _Request(least_side, colours, limits, held))


def _decode(stream: BinaryIO, head: bytes, name: str, request: _Request) -> DecodedImage:
    try:
        # Warnings are about metadata that nothing here reads, or about a size that our own limit decides on.
        with warnings_off:
            form, plugin = _known_format(head)
            if form == NETPBM:
                return _decode_netpbm(stream, request)
            header = _checked_header(stream, form, request)
            opener = _Opener(stream, head, form, plugin)
            if header.has_deep_colours:
                return _decode_deep_colours(opener, header, request)
            return _decode_image(opener, header, request)
    except FormatError as error:
        raise ImageError(f"{name}: {error}", error.code) from error
    except _DECODER_ERRORS as error:
        # `truncated` is worth telling apart: such a file can often be fetched again whole.
        code = "truncated" if "truncated" in str(error).lower() else "unreadable"
        raise ImageError(f"{name}: {code} image: {error}", code) from error


def _known_format(head: bytes) -> tuple[str, str]:
    if not head:
        raise FormatError("the file is empty", "empty")
    found = format_of(head)
    if found is None:
        raise FormatError(unknown_format(head) or "not an image of a known format", "unsupported")
    return found


def _checked_header(stream: BinaryIO, form: str, request: _Request) -> Header:
    """The header, within the limits, of a file that shows no damage."""
    module, function = _READERS[form]
    reader = importlib.import_module(f"edge_runtime.formats.{module}")
    header: Header = getattr(reader, function)(stream)
    check_limits(replace(header, held_bytes=header.held_bytes + request.held_bytes), request.limits)
    if form == "PNG":
        header = reader.check_chunks(stream, header)
    elif form == "TIFF":
        reader.check_pieces(stream)
        reader.teach_pillow()
    return header


class _Opener:
    """Opens one file with one of Pillow's plugins, no pixel of it decoded."""

    def __init__(self, stream: BinaryIO, head: bytes, form: str, plugin: str) -> None:
        importlib.import_module(f"PIL.{plugin}")
        # As Image.open does, which would import the common plugins first.
        self._factory, accepts = Image.OPEN[form]
        self._stream = stream
        if accepts is not None and accepts(head[:_ACCEPTED_BYTES]) is not True:
            raise FormatError("not an image of a known format", "unsupported")

    def __call__(self) -> ImageFile.ImageFile:
        self._stream.seek(0)
        try:
            opened: ImageFile.ImageFile = self._factory(self._stream, "")
            return opened
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            raise FormatError(f"not an image of a known format ({error})", "unsupported") from error


def _decode_image(opened: _Opener, header: Header, request: _Request) -> DecodedImage:
    image = opened()
    form, mode = image.format or "unknown", image.mode
    if {image.width, image.height} != {header.width, header.height}:
        raise FormatError("damaged: its headers contradict each other")
    is_colour_jpeg = form in ("JPEG", "MPO") and mode != "L"
    if request.least_side is not None:
        image.draft("L", (request.least_side, request.least_side))
    image.load()
    if image.mode in _SIXTEEN_BIT_MODES:
        return _from_values(_plain_values(image, header), header, form, mode, image)
    if image.mode == "F":
        raise FormatError("floating-point pixels have no defined white; save it with 8 or 16 bits", "unsupported")
    chroma_u8 = None
    if request.colours and (is_colour_jpeg or image.mode not in ("L", "1")):
        chroma_u8 = _chroma_of_jpeg(opened) if is_colour_jpeg else _chroma(image)
    is_phantom = form == "PNG" and image.info.get("Software") == PHANTOM_SOFTWARE
    return DecodedImage(_grey(image), form, mode, chroma_u8, is_phantom=is_phantom)


def _decode_deep_colours(opened: _Opener, header: Header, request: _Request) -> DecodedImage:
    from edge_runtime.formats.deep_colours import read_deep_colours

    luma_u16, opaque_u8, image = read_deep_colours(opened, header.transparent)
    is_grey = header.channels == 2
    mode = "LA" if is_grey else image.mode
    decoded = _from_values(luma_u16, header, image.format or "unknown", mode, image, opaque_u8)
    return replace(decoded, chroma_u8=_chroma(image)) if request.colours and not is_grey else decoded


def _decode_netpbm(stream: BinaryIO, request: _Request) -> DecodedImage:
    from edge_runtime.depth import to_grey
    from edge_runtime.formats.deep_colours import luma_of
    from edge_runtime.formats.netpbm import read_netpbm

    samples, white, header = read_netpbm(stream, request.limits)
    chroma_u8 = None
    if samples.ndim == 3:
        if request.colours:
            chroma_u8 = _chroma(Image.fromarray(to_grey(samples, white)))
        samples = luma_of(samples)
    mode = "L" if chroma_u8 is None and header.bits == 8 else "I;16" if header.bits == 16 else "RGB"
    if header.depth is None and header.bits == 16:
        return replace(_from_values(samples, header, NETPBM, mode, None), chroma_u8=chroma_u8)
    grey_u8 = to_grey(samples, white)
    depth_from = header.depth_from or BY_FILE
    return DecodedImage(grey_u8, NETPBM, mode, chroma_u8, (), header.depth or 8, depth_from)


def _chroma_of_jpeg(opened: _Opener) -> NDArray[np.uint8]:
    """Decoded apart, at an eighth of the size: the grey must be the same whether colours are asked for or not."""
    image = opened()
    image.draft("RGB", (_CHROMA_SIDE, _CHROMA_SIDE))
    return _chroma(image)


def _chroma(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (_CHROMA_SIDE, _CHROMA_SIDE, 2), Cb and Cr of any image in colour; what is transparent lies on black."""
    if image.mode in ("P", "PA") or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small = image.resize((_CHROMA_SIDE, _CHROMA_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(_on_black(small).convert("RGB").convert("YCbCr"))[..., 1:]


def _on_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)


def _grey(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (H, W), upright. Made by pieces: a whole copy in colour would be the largest thing in memory."""
    orientation = _orientation(image)
    grey_u8, stored = _upright_array(image, orientation)
    rows = max(1, _PIECE // image.width)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        piece = image if rows >= image.height else image.crop((0, top, image.width, bottom))
        piece = _on_black(piece)
        piece = piece.convert("RGB") if piece.mode == "P" else piece
        stored[top:bottom] = np.asarray(piece if piece.mode == "L" else piece.convert("L"))
    return grey_u8


def _orientation(image: Image.Image | None) -> int:
    return 1 if image is None else image.getexif().get(_EXIF_ORIENTATION, 1)


def _upright_array(image: Image.Image, orientation: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An empty image as it is to be shown, and the same memory seen as the image is stored."""
    sideways = orientation in (5, 6, 7, 8)
    shape = (image.width, image.height) if sideways else (image.height, image.width)
    shown = np.empty(shape, np.uint8)
    return shown, _STORED_VIEWS[orientation](shown) if orientation in _STORED_VIEWS else shown


def _plain_values(image: Image.Image, header: Header) -> NDArray[np.integer]:
    """(H, W), 0 to 65,535, of an image with one channel of more than 8 bits."""
    # By pieces: all of it at once would be held three times.
    values = np.empty((image.height, image.width), np.int32 if image.mode == "I" else np.uint16)
    rows = max(1, _PIECE // image.width)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        values[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    low, high = (int(values.min()), int(values.max())) if values.dtype.itemsize > 2 else (0, 0)
    if low < 0 or high > 65_535:
        raise FormatError(f"pixel values from {low} to {high}; 0 to 65535 was expected", "unsupported")
    if header.transparent is not None:
        values[values == header.transparent[0]] = 0
    return values


def _from_values(
    values: NDArray[np.integer],
    header: Header,
    form: str,
    mode: str,
    image: Image.Image | None,
    opaque_u8: NDArray[np.uint8] | None = None,
) -> DecodedImage:
    """The image that deep values make, by the depth that is declared, else found."""
    from edge_runtime.depth import declared_depth, find_depth, to_grey

    depth = find_depth(values) if header.depth is None else declared_depth(values, header.depth, header.depth_from)
    stored = to_grey(values, depth.white, header.is_inverted)
    if opaque_u8 is not None:
        from edge_runtime.formats.deep_colours import lay_on_black

        lay_on_black(stored, opaque_u8)
    orientation = _orientation(image)
    if orientation in _STORED_VIEWS:
        shown = np.empty(stored.shape[::-1] if orientation >= 5 else stored.shape, np.uint8)
        _STORED_VIEWS[orientation](shown)[...] = stored
    else:
        shown = stored
    warnings: tuple[str, ...] = ()
    if depth.outside:
        share = depth.outside / values.size
        warnings = (
            f"{depth.outside} pixels ({share:.2%}) are brighter than the {depth.bits} bits that the others fit into: "
            "they were taken for white",
        )
    return DecodedImage(shown, form, mode, None, warnings, depth.bits, depth.source)
