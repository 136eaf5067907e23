"""GIF, WebP and BMP: size and peak of memory by their first bytes."""

from __future__ import annotations

from typing import BinaryIO

from edge_runtime.formats.header import FormatError, Header, bytes_of_mode, left_in, read_exactly
from edge_runtime.limits import MEGABYTE

_MOST_COMMENT_BYTES = 1 * MEGABYTE  # Pillow joins a comment in blocks of 255 bytes, each time anew
_WEBP_BYTES = 20  # a pixel: canvas, frame before, frame, image and grey, four channels all but the last
_RLE_BYTES = 100  # Pillow decodes runs in Python, slowly: a limit of time, not of memory
_BMP_RLE = (1, 2)  # compression: RLE8 and RLE4


def read_gif_header(stream: BinaryIO) -> Header:
    """Of the first frame, the canvas included (GIF89a, 18 to 26)."""
    stream.seek(0)
    start = read_exactly(stream, 13)
    width, height = _little(start[6:8]), _little(start[8:10])
    _skip_colours(stream, start[10])
    extra = 0
    while (kind := read_exactly(stream, 1)) != b",":
        if kind == b"!":
            read_exactly(stream, 1)
            extra += _skip_blocks(stream)
        elif kind == b";":
            raise FormatError("truncated: it has no frame", "truncated")
        if extra > _MOST_COMMENT_BYTES:
            raise FormatError("comments of more than 1 MB", "too_large")
    frame = read_exactly(stream, 9)
    left, top, across, down = (_little(frame[at : at + 2]) for at in (0, 2, 4, 6))
    return Header(max(width, left + across), max(height, top + down), bytes_of_mode("P") + 1)


def _skip_colours(stream: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        read_exactly(stream, 3 << ((flags & 7) + 1))


def _skip_blocks(stream: BinaryIO) -> int:
    """Bytes of the blocks that were skipped."""
    skipped = 1
    while length := read_exactly(stream, 1)[0]:
        read_exactly(stream, length)
        skipped += length + 1
        if skipped > _MOST_COMMENT_BYTES:
            break
    return skipped


def read_webp_header(stream: BinaryIO) -> Header:
    """Of the canvas (RFC 9649). Its length is at its beginning: a file that is shorter has been cut."""
    stream.seek(0)
    start = read_exactly(stream, 30)
    if start[8:12] != b"WEBP":
        raise FormatError("a RIFF file, but no WebP", "unsupported")
    size, there = _little(start[4:8]) + 8, left_in(stream) + len(start)
    if size > there:
        raise FormatError(f"truncated: {there} of {size} bytes are there", "truncated")
    kind = start[12:16]
    if kind == b"VP8X":
        width, height = 1 + _little(start[24:27]), 1 + _little(start[27:30])
    elif kind == b"VP8L":
        bits = _little(start[21:25])
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = _little(start[26:28]) & 0x3FFF, _little(start[28:30]) & 0x3FFF
    else:
        raise FormatError("damaged: no chunk of pixels at its beginning")
    return Header(width, height, _WEBP_BYTES, held_bytes=3 * there)


def read_bmp_header(stream: BinaryIO) -> Header:
    """Of a Windows or OS/2 bitmap."""
    stream.seek(0)
    start = read_exactly(stream, 26)
    if _little(start[14:18]) == 12:
        return Header(_little(start[18:20]), _little(start[20:22]), _BYTES_BMP)
    width, height = (int.from_bytes(start[at : at + 4], "little", signed=True) for at in (18, 22))
    compression = _little(read_exactly(stream, 8)[4:8])
    return Header(width, abs(height), _RLE_BYTES if compression in _BMP_RLE else _BYTES_BMP)


_BYTES_BMP = bytes_of_mode("P")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
