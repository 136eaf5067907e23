"""One DICOM image as grey uint8, or the reason why it cannot be judged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.dicom.codestreams import COMPRESSIONS, RLE, UNCOMPRESSED, frame_size, rle_bytes
from edge_runtime.dicom.files import INSTALL_DICOM, MOST_FILE_BYTES, read_elements, silenced
from edge_runtime.dicom.grey_table import BITS_STORED, is_inverted, make_grey_table
from edge_runtime.dicom.isolated import decode_apart
from edge_runtime.errors import DependencyError, EdgeError, ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What a radiograph may call itself: computed and digital radiography, film, fluoroscopy's stills, secondary captures.
MODALITIES = frozenset({"CR", "DX", "RG", "RF", "XA", "OT", "SC", ""})
# Of the decoded pixels of one frame: the largest detectors have 20 megapixels, 40 MB. Three copies are held at a time.
MOST_BYTES = 60 << 20
_CHROMA_SIDE = 48  # pixels, as in `edge_runtime.images`
_ELEMENTS = (
    *("SOPClassUID", "Modality", "BurnedInAnnotation", "PresentationIntentType", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "LUTDescriptor", "LUTData", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData"),
    *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored")
_COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class DicomImage:
    """One decoded frame."""

    grey_u8: NDArray[np.uint8]  # (H, W), 0 black
    depth: int  # bits stored of each pixel
    depth_from: str  # what decided which values are black and white
    photometric: str  # photometric interpretation, of the standard's own
    warnings: tuple[str, ...]  # for people
    chroma_u8: NDArray[np.uint8] | None = None  # (h, w, 2), Cb and Cr, small; None: the image is grey


def read_dicom(data: bytes, name: str, frame: int | None = None, most_bytes: int = MOST_BYTES) -> DicomImage:
    """The decoded image.

    Args:
        data: the whole file.
        name: of the file, for messages.
        frame: which one of several, from 1; None: there is but one.
        most_bytes: more decoded bytes are refused before any is decoded.

    Raises:
        ImageError: not an image, not a radiograph, several frames and none chosen, or not decodable.
        DependencyError: pydicom, or what decodes this compression, is not installed.
    """
    with silenced():
        try:
            return _read(data, name, frame, most_bytes)
        except EdgeError:
            raise
        except MemoryError:
            raise ImageError(f"{name}: not enough memory to decode it", "too_large") from None
        except Exception:  # noqa: B902 - damaged files raise nearly anything, and its text may quote a patient
            raise ImageError(f"{name}: damaged DICOM file", "unreadable") from None


def _read(data: bytes, name: str, frame: int | None, most_bytes: int) -> DicomImage:
    if len(data) > MOST_FILE_BYTES:
        raise ImageError(f"{name}: a DICOM file of more than {MOST_FILE_BYTES / 1e6:.0f} MB", "too_large")
    ds = read_elements(data, name, _ELEMENTS, pixels=True)
    _refuse_what_is_no_radiograph(ds, name)
    index = _chosen_frame(ds, name, frame)
    _check_size(ds, name, most_bytes)
    pixels = _decode(ds, name, index)
    if int(ds.SamplesPerPixel) == 1 and ds.PhotometricInterpretation != "PALETTE COLOR":
        grey_u8, source = _grey(ds, pixels, name)
        return DicomImage(grey_u8, int(ds.BitsStored), source, str(ds.PhotometricInterpretation), _warnings(ds))
    colour = _colour(ds, pixels, name)
    small = colour.resize((_CHROMA_SIDE, _CHROMA_SIDE), Image.Resampling.BOX, reducing_gap=2.0).convert("YCbCr")
    return DicomImage(
        np.asarray(colour.convert("L")),
        int(ds.BitsStored),
        BITS_STORED,
        str(ds.PhotometricInterpretation),
        _warnings(ds),
        np.asarray(small)[..., 1:],
    )


def _refuse_what_is_no_radiograph(ds: Dataset, name: str) -> None:
    missing = [keyword for keyword in _NEEDED if ds.get(keyword) is None]
    if "PixelData" not in ds or missing:
        what = "floating-point pixels" if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds else "no pixels"
        lack = f"{', '.join(missing)} missing" if "PixelData" in ds else what
        raise ImageError(f"{name}: a DICOM file, but no image: {lack} ({_class_name(ds)})", "unsupported")
    modality = str(ds.get("Modality", "")).strip().upper()
    if modality not in MODALITIES or _class_name(ds).startswith(("CT ", "Enhanced CT", "MR ", "Enhanced MR")):
        told = modality if re.fullmatch("[A-Z]{2,16}", modality) and modality not in MODALITIES else _class_name(ds)
        raise ImageError(f"{name}: {told}: not a radiograph (CR, DX or RG was expected)", "unsupported")


def _class_name(ds: Dataset) -> str:
    """What kind of object it is, by the standard's own list: never text from the file."""
    from pydicom.uid import UID_dictionary

    known = UID_dictionary.get(str(ds.get("SOPClassUID", "")))
    return known[0] if known else "a kind that the DICOM standard does not list"


def _chosen_frame(ds: Dataset, name: str, frame: int | None) -> int:
    """Its number from 0."""
    count = _whole(ds, "NumberOfFrames", name, default=1)
    if frame is None and count > 1:
        raise ImageError(f"{name}: {count} frames; choose one with --frame 1 to --frame {count}", "unsupported")
    if frame is not None and not 1 <= frame <= max(1, count):
        raise ImageError(f"{name}: no frame {frame}: it has {max(1, count)}", "unsupported")
    return 0 if frame is None else frame - 1


def _whole(ds: Dataset, keyword: str, name: str, default: int | None = None) -> int:
    """A data element as a whole number."""
    try:
        value = ds.get(keyword)
        return int(default if value is None and default is not None else value)
    except (TypeError, ValueError, OverflowError):
        raise ImageError(f"{name}: damaged DICOM file: {keyword} is no whole number", "unreadable") from None


def _check_size(ds: Dataset, name: str, most_bytes: int) -> None:
    numbers = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored")
    rows, columns, samples, allocated, stored = (_whole(ds, keyword, name) for keyword in numbers)
    representation = _whole(ds, "PixelRepresentation", name, default=0)
    if rows < 1 or columns < 1 or samples not in (1, 3) or allocated not in (8, 16) or representation not in (0, 1):
        raise ImageError(
            f"{name}: {columns} x {rows} pixels of {samples} x {allocated} bits: 8 or 16 bits were expected, "
            "grey or in three colours",
            "unsupported",
        )
    if not 1 <= stored <= allocated:
        raise ImageError(f"{name}: damaged DICOM file: {stored} of {allocated} bits are stored", "unreadable")
    if (size := rows * columns * samples * allocated // 8) > most_bytes:
        raise ImageError(
            f"{name}: {columns} x {rows} pixels take {size / 1e6:.0f} MB, more than the {most_bytes / 1e6:.0f} MB "
            "allowed; scale it down first",
            "too_large",
        )
    ds.PixelRepresentation = representation


def _decode(ds: Dataset, name: str, index: int) -> NDArray[Any]:
    """Stored values (H, W), or colours (H, W, 3)."""
    from pydicom.pixels import get_decoder

    syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
    title, plugin = COMPRESSIONS.get(syntax, ("", ""))
    if syntax not in UNCOMPRESSED and not title:
        known = syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "unknown"
        raise ImageError(f"{name}: transfer syntax {known} cannot be decoded", "unsupported")
    decoder = get_decoder(syntax)
    if title and plugin not in decoder.available_plugins:
        raise DependencyError(f"{name}: {title} needs a decoder that is not installed: {INSTALL_DICOM}")
    try:
        if title:
            _check_frame(ds, syntax, index)
        if plugin == "gdcm":
            return decode_apart(lambda: decoder.as_array(ds, index=index, decoding_plugin=plugin)[0])
        return np.asarray(decoder.as_array(ds, index=index, decoding_plugin=plugin)[0])
    except _FrameError as error:
        raise ImageError(f"{name}: {title}: {error}", error.code) from None
    except Exception:  # noqa: B902 - as above
        raise ImageError(f"{name}: {f'{title}: ' if title else ''}its pixels cannot be decoded", _code(ds)) from None


class _FrameError(Exception):
    """A compressed frame is not what the header around it says."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def _code(ds: Dataset) -> str:
    """`truncated` where uncompressed pixels are fewer than the header says, else `unreadable`."""
    expected = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel) * int(ds.BitsAllocated) // 8
    native = str(ds.file_meta.get("TransferSyntaxUID", "")) in UNCOMPRESSED
    return "truncated" if native and len(ds.PixelData) < expected else "unreadable"


def _check_frame(ds: Dataset, syntax: str, index: int) -> None:
    """Refuses a frame that would unpack to something else than the header says."""
    from pydicom.encaps import get_frame

    frames = int(ds.get("NumberOfFrames") or 1)
    offsets = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if "ExtendedOffsetTableLengths" in ds else None
    frame = get_frame(ds.PixelData, index, number_of_frames=frames, extended_offsets=offsets)
    rows, columns, samples, allocated = ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.BitsAllocated
    if syntax == RLE:
        # A padding byte may follow each segment.
        expected = rows * columns * samples * allocated // 8
        if not expected <= rle_bytes(frame) <= expected + 2 * samples * allocated // 8:
            raise _FrameError("its runs do not make the pixels that its header says", "unreadable")
        return
    found = frame_size(frame)
    if found is None:
        raise _FrameError("its pixels are no such stream", "unreadable")
    if found[3] > 8 and COMPRESSIONS[syntax][1] == "pillow":
        raise _FrameError(f"{found[3]} bits a pixel cannot be decoded, 8 can", "unsupported")
    if found[:3] != (columns, rows, samples) or found[3] > allocated:
        raise _FrameError(
            f"{found[0]} x {found[1]} pixels of {found[2]} x {found[3]} bits, where the header says {columns} x {rows} "
            f"of {samples} x {allocated}",
            "unreadable",
        )


def _grey(ds: Dataset, stored: NDArray[Any], name: str) -> tuple[NDArray[np.uint8], str]:
    if ds.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(f"{name}: one sample a pixel, but not MONOCHROME1 or MONOCHROME2", "unsupported")
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        if keyword in ds and ds[keyword].VM == 0:
            del ds[keyword]  # there, but empty: as good as absent
    try:
        table = make_grey_table(ds)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, NotImplementedError):
        raise ImageError(
            f"{name}: its window, LUT or rescale is damaged, so black and white are not known", "unreadable"
        ) from None
    return table.apply(stored), table.source


def _colour(ds: Dataset, pixels: NDArray[Any], name: str) -> Image.Image:
    """8 bits a colour, of a secondary capture."""
    from pydicom.pixels import apply_color_lut

    if ds.PhotometricInterpretation not in _COLOURS:
        raise ImageError(f"{name}: colours of a kind that is not known", "unsupported")
    depth = int(ds.BitsStored)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        try:
            pixels = apply_color_lut(pixels, ds)
        except Exception:  # noqa: B902 - as above
            raise ImageError(f"{name}: its palette is damaged", "unreadable") from None
        depth = pixels.dtype.itemsize * 8
    return Image.fromarray((pixels >> max(0, depth - 8)).astype(np.uint8))


def _warnings(ds: Dataset) -> tuple[str, ...]:
    found = []
    if ds.get("BurnedInAnnotation") == "YES":
        found.append("text is burned into the pixels (BurnedInAnnotation): it may name the patient")
    if ds.get("PresentationIntentType") == "FOR PROCESSING":
        found.append("raw detector values (FOR PROCESSING): the image meant for viewing is another file")
    if is_inverted(ds) and ds.get("PresentationLUTShape") == "IDENTITY":
        found.append("MONOCHROME1 and PresentationLUTShape IDENTITY contradict each other: MONOCHROME1 was followed")
    return tuple(found)
