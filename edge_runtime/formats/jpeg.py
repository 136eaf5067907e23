"""JPEG: size, bits, and how it is coded, by its markers (ITU-T T.81, annex B)."""

from __future__ import annotations

from typing import BinaryIO

from edge_runtime.formats.header import FormatError, Header, read_exactly
from edge_runtime.limits import MEGABYTE, MOST_HEADER_BYTES

_START_OF_SCAN, _END = 0xDA, 0xD9
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_BASELINE, _EXTENDED, _PROGRESSIVE, _JPEG_LS = 0xC0, 0xC1, 0xC2, 0xF7
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_COEFFICIENT_BYTES = 2
# Each scan is a pass over all pixels, and one may be a few bytes long.
_MOST_PIXELS_OF_SCANS = 400_000_000
_PIECE = 1 << 20  # bytes
_LOOK_BACK_BYTES = 4096
_CONVERT = "save it as PNG, TIFF or DICOM first"


def read_header(stream: BinaryIO) -> Header:
    """Size and peak of memory.

    Raises:
        FormatError: damaged, or of a kind that is not read: 12 bits, lossless, arithmetic coding, JPEG-LS.
    """
    stream.seek(2)
    frame: tuple[int, int, int, int] | None = None
    coding = 0
    while True:
        marker = _next_marker(stream)
        if marker in _STANDALONE:
            continue
        if marker == _END:
            raise FormatError("truncated: its end comes before its pixels", "truncated")
        length = int.from_bytes(read_exactly(stream, 2), "big") - 2
        if length < 0 or stream.tell() > MOST_HEADER_BYTES:
            raise FormatError("damaged: its segments lead nowhere")
        body = read_exactly(stream, length)
        if marker in _FRAMES:
            frame, coding = _read_frame(body), marker
            _refuse_others(frame[3], coding)
        elif marker == _START_OF_SCAN:
            break
    if frame is None or not body:
        raise FormatError("damaged: its pixels come before their size")
    width, height, components, bits = frame
    # All coefficients are held where one component or one bit of them comes at a time.
    holds_all = coding == _PROGRESSIVE or body[0] < components
    if holds_all:
        _check_scans(stream, width * height)
    _check_end(stream)
    peak = (2 if components == 1 else 5) + (_COEFFICIENT_BYTES * components if holds_all else 0)
    return Header(width, height, peak, bits=bits)


def _next_marker(stream: BinaryIO) -> int:
    if read_exactly(stream, 1) != b"\xff":
        raise FormatError("damaged: a marker was expected")
    marker = 0xFF
    while marker == 0xFF:  # fill bytes
        marker = read_exactly(stream, 1)[0]
    return marker


def _read_frame(body: bytes) -> tuple[int, int, int, int]:
    """(width, height, components, bits)."""
    if len(body) < 6:
        raise FormatError("damaged: its frame header is too short")
    return int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"), body[5], body[0]


def _refuse_others(bits: int, coding: int) -> None:
    kind = ""
    if coding == _JPEG_LS:
        kind = "JPEG-LS"
    elif coding in _LOSSLESS:
        kind = "lossless JPEG"
    elif bits != 8:
        kind = f"JPEG with {bits} bits a sample (12-bit JPEG)" if bits == 12 else f"JPEG with {bits} bits a sample"
    elif coding not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        kind = "JPEG with arithmetic or hierarchical coding"
    if kind:
        raise FormatError(f"{kind}, which is not read; {_CONVERT}", "unsupported")


def _check_scans(stream: BinaryIO, pixels: int) -> None:
    """Refuses so many scans of so many pixels that decoding would take minutes. The marker stands inside no scan."""
    start, scans, last = stream.tell(), 1, b""
    while block := stream.read(_PIECE):
        scans += (last + block).count(b"\xff\xda")
        last = block[-1:] if block[-1:] == b"\xff" else b""
    if scans * pixels > _MOST_PIXELS_OF_SCANS:
        raise FormatError(f"{scans} scans of {pixels / MEGABYTE:.1f} megapixels; save it as baseline JPEG", "too_large")
    stream.seek(start)


def _check_end(stream: BinaryIO) -> None:
    """Refuses a file without its end, from here on: a decoder is content with any bytes of the right number.

    The end is looked for at the end; what cameras write behind it may be megabytes, so then everywhere.
    """
    start = stream.tell()
    stream.seek(max(start, stream.seek(0, 2) - _LOOK_BACK_BYTES))
    if b"\xff\xd9" in stream.read():
        return
    stream.seek(start)
    last = b""
    while block := stream.read(_PIECE):
        if b"\xff\xd9" in last + block:
            return
        last = block[-1:]
    raise FormatError("truncated: its end is missing", "truncated")
