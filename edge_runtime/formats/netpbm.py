"""PBM, PGM and PPM, binary and plain: read here, for Pillow scales what has no 8 bits in Python, value by value."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.formats.header import FormatError, Header, check_limits
from edge_runtime.limits import Limits

_HEAD_BYTES = 1 << 16  # comments included
_MOST_MAXVAL = 65_535
_PIECE = 1 << 20  # bytes
_MOST_DIGITS = 9
_WHITE = rb"(?:[ \t\n\v\f\r]+|#[^\n\r]*[\n\r])+"
_BITMAPS, _COLOURS, _PLAIN = (b"P1", b"P4"), (b"P3", b"P6"), (b"P1", b"P2", b"P3")
# Values of up to four bytes, and what is made of them.
_BYTES_PER_CHANNEL = 4


def read_netpbm(stream: BinaryIO, limits: Limits) -> tuple[NDArray[np.integer], int, Header]:
    """Samples (H, W) or (H, W, 3), the value that is white, and the header.

    Raises:
        FormatError: damaged, truncated or too large.
    """
    stream.seek(0)
    head = stream.read(_HEAD_BYTES)
    magic = head[:2]
    numbers = 2 if magic in _BITMAPS else 3
    # One byte of white space ends the header of a binary file: what follows are pixels.
    found = re.match(rb"P[1-6]" + (_WHITE + rb"(\d{1,9})") * numbers + rb"[ \t\n\v\f\r]", head)
    if found is None:
        raise FormatError("damaged: its header lacks width, height or the value that is white")
    width, height, *rest = map(int, found.groups())
    maxval = rest[0] if rest else 1
    if not 1 <= maxval <= _MOST_MAXVAL:
        raise FormatError(f"damaged: white is {maxval}; 1 to {_MOST_MAXVAL} was expected")
    channels = 3 if magic in _COLOURS else 1
    bits = 16 if maxval > 255 else 8
    header = Header(width, height, channels * _BYTES_PER_CHANNEL + 3, bits, *_declared(maxval))
    check_limits(header, limits)
    stream.seek(found.end())
    if magic == b"P4":
        samples = _packed(stream, width, height)
    elif magic in _PLAIN:
        samples = _plain(stream, width * height * channels, is_bitmap=magic == b"P1")
    else:
        samples = _binary(stream, width * height * channels, bits)
    if int(samples.max()) > maxval:
        raise FormatError(f"damaged: a value of {int(samples.max())}, and white is {maxval}")
    if magic in _BITMAPS:
        samples = 1 - samples  # 1 is black
    return samples.reshape((height, width) if channels == 1 else (height, width, channels)), maxval, header


def _declared(maxval: int) -> tuple[int | None, str]:
    """Depth and who says so. 255 and 65,535 are what the samples hold, which many programs write for any depth."""
    if maxval in (255, _MOST_MAXVAL) or maxval < 255:
        return None, ""
    return maxval.bit_length(), "PGM maxval"


def _binary(stream: BinaryIO, count: int, bits: int) -> NDArray[np.integer]:
    data = stream.read(count * bits // 8)
    if len(data) < count * bits // 8:
        raise FormatError("truncated: rows are missing", "truncated")
    return np.frombuffer(data, ">u2" if bits == 16 else np.uint8)


def _packed(stream: BinaryIO, width: int, height: int) -> NDArray[np.integer]:
    row_bytes = (width + 7) // 8
    rows = _binary(stream, row_bytes * height, 8).astype(np.uint8, copy=False).reshape(height, row_bytes)
    return np.unpackbits(rows, axis=1, count=width)


def _plain(stream: BinaryIO, count: int, is_bitmap: bool) -> NDArray[np.integer]:
    """Decimal numbers between white space; of a bitmap single digits, which may stand side by side."""
    samples, at, left = np.empty(count, np.uint16), 0, b""
    while at < count:
        block = stream.read(_PIECE)
        text = re.sub(rb"#[^\n\r]*", b"", left + block)
        # The last number, or comment, may go on in the next block.
        cut = max(text.rfind(white) for white in (b" ", b"\n", b"\t", b"\r")) + 1 if block else len(text)
        left, text = text[cut:], text[:cut]
        if len(left) > _PIECE:
            raise FormatError("damaged: a number is too large")
        values = _numbers(np.frombuffer(text, np.uint8), is_bitmap)[: count - at]
        samples[at : at + len(values)] = values
        at += len(values)
        if not block and at < count:
            raise FormatError("truncated: numbers are missing", "truncated")
    return samples


def _numbers(text: NDArray[np.uint8], is_bitmap: bool) -> NDArray[np.uint32]:
    """Without Python's own loop: a radiograph has millions."""
    is_digit = (text >= ord("0")) & (text <= ord("9"))
    if not (is_digit | (text == ord(" ")) | (text >= ord("\t")) & (text <= ord("\r"))).all():
        raise FormatError("damaged: what should be a number is none")
    if is_bitmap:
        return (text[is_digit] - ord("0")).astype(np.uint32)
    steps = np.diff(is_digit.astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    lengths = ends - starts
    if lengths.size and int(lengths.max()) > _MOST_DIGITS:
        raise FormatError("damaged: a number is too large")
    values = np.zeros(len(starts), np.uint32)
    for place in range(int(lengths.max(initial=0))):
        has_one = lengths > place
        digits = text[np.minimum(starts + place, len(text) - 1)].astype(np.uint32) - ord("0")
        values = np.where(has_one, values * 10 + digits, values)
    if values.size and int(values.max()) > _MOST_MAXVAL:
        raise FormatError("damaged: a number is too large")
    return values
