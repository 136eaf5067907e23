"""What the header of an image file tells, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from edge_runtime.limits import MEGABYTE, MOST_HEADER_BYTES, Limits

# Bytes a pixel of Pillow's storage and of the grey image made from it; where a palette or transparency asks for it, of
# one more copy in colour.
_BYTES = {"1": 2, "L": 2, "P": 6, "PA": 9, "LA": 9, "La": 9, "RGBA": 9, "RGBa": 9, "I;16": 5, "I;16B": 5}
_BYTES_OF_OTHERS = 5  # four channels, used or not, and grey


class FormatError(Exception):
    """A file is damaged, or of a kind that cannot be judged; the message lacks its name."""

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Header:
    """What is known before a pixel is decoded."""

    width: int  # pixels
    height: int  # pixels
    bytes_per_pixel: int  # that decoding holds at its peak
    bits: int = 8  # of a sample as it is stored
    depth: int | None = None  # bits of a sample that mean something, where the file declares them
    depth_from: str = ""  # what declared them
    is_inverted: bool = False  # the lowest value is white, and Pillow does not know
    transparent: tuple[int, ...] | None = None  # samples of the one colour that is transparent
    has_deep_colours: bool = False  # more than 8 bits in each of several channels
    channels: int = 1  # of an image with such
    held_bytes: int = 0  # that decoding needs beside the pixels


def bytes_of_mode(mode: str) -> int:
    """Bytes a pixel at the peak of decoding an image of one of Pillow's modes."""
    return _BYTES.get(mode, _BYTES_OF_OTHERS)


def check_limits(header: Header, limits: Limits) -> None:
    """Refuses an image that would take too much.

    Raises:
        FormatError: too many pixels, or none.
    """
    if header.width < 1 or header.height < 1:
        raise FormatError(f"{header.width} x {header.height} pixels: no image")
    if max(header.width, header.height) > limits.side:
        raise FormatError(
            f"{header.width} x {header.height} pixels, and a side may have {limits.side}; scale it down first",
            "too_large",
        )
    needed = header.width * header.height * header.bytes_per_pixel + header.held_bytes
    if needed > limits.decoded_bytes:
        raise FormatError(
            f"{header.width} x {header.height} pixels take {needed / MEGABYTE:.0f} MB to decode, more than the "
            f"{limits.decoded_bytes / MEGABYTE:.0f} MB allowed; scale it down first",
            "too_large",
        )


def read_exactly(stream: BinaryIO, count: int) -> bytes:
    """So many bytes, and no fewer.

    Raises:
        FormatError: the file ends before.
    """
    if count > MOST_HEADER_BYTES:
        raise FormatError(f"{count / MEGABYTE:.0f} MB of what is no pixel", "too_large")
    data = stream.read(count)
    if len(data) < count:
        raise FormatError("truncated: the file ends early", "truncated")
    return data


def left_in(stream: BinaryIO) -> int:
    """Bytes from here to the end of a file; its place stays."""
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return end - here
