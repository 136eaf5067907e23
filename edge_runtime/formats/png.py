"""PNG: size, depth and transparent colour; every checksum compared, and whether all rows are there.

Pillow compares no checksum of the pixels and takes rows that are missing for black. The chunks are read in order, in
pieces, and the pixels are inflated into nothing: that costs a fifth of decoding them (PNG specification, 3rd edition).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from edge_runtime.formats.header import FormatError, Header, bytes_of_mode, left_in, read_exactly
from edge_runtime.limits import MOST_HEADER_BYTES

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIECE = 1 << 20  # bytes read, and bytes inflated, at a time
_IHDR = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples a pixel
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # as Pillow has them, of 8 bits
_COLOURS = (2, 4, 6)
# Pillow's storage of the high bytes and of the low ones, 16-bit luma, how opaque, and grey.
_DEEP_COLOUR_BYTES = 12
# Adam7 (8.2): first column and row, and steps, of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass(frozen=True)
class _Shape:
    """The first chunk."""

    width: int
    height: int
    bits: int
    colour: int
    is_interlaced: bool

    @property
    def raw_bytes(self) -> int:
        """Of all rows with their filter bytes, inflated."""
        passes = _PASSES if self.is_interlaced else ((0, 0, 1, 1),)
        return sum(self._pass_bytes(*one) for one in passes)

    def _pass_bytes(self, left: int, top: int, step_x: int, step_y: int) -> int:
        columns, rows = -((left - self.width) // step_x), -((top - self.height) // step_y)
        bits = columns * _CHANNELS[self.colour] * self.bits
        return rows * (1 + (bits + 7) // 8) if columns > 0 and rows > 0 else 0


def read_header(stream: BinaryIO) -> Header:
    """Size and peak of memory, by the first chunk alone.

    Raises:
        FormatError: it is damaged.
    """
    shape = _read_shape(stream)
    is_deep = shape.bits == 16
    peak = bytes_of_mode("I;16" if is_deep else _MODES[shape.colour])
    has_deep_colours = is_deep and shape.colour in _COLOURS
    return Header(
        shape.width,
        shape.height,
        _DEEP_COLOUR_BYTES if has_deep_colours else peak,
        bits=shape.bits,
        has_deep_colours=has_deep_colours,
        channels=_CHANNELS[shape.colour],
    )


def check_chunks(stream: BinaryIO, header: Header) -> Header:
    """The header with what later chunks declare, after every chunk was compared with its checksum.

    Raises:
        FormatError: a checksum differs, or chunks, rows or the end are missing.
    """
    shape = _read_shape(stream)
    significant, transparent = None, None
    pixels = _Pixels(shape.raw_bytes)
    for kind, body in _chunks(stream, pixels):
        if kind == b"sBIT" and header.bits == 16 and 1 <= len(body) <= 4:
            colours = body[: 3 if shape.colour in (2, 6) else 1]
            significant = max(colours) if 8 <= max(colours) <= 16 else None
        elif kind == b"tRNS" and shape.colour in (0, 2):
            transparent = tuple(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body) - 1, 2))
    pixels.check_end()
    depth_from = "PNG sBIT" if significant else ""
    return replace(header, depth=significant, depth_from=depth_from, transparent=transparent)


def _read_shape(stream: BinaryIO) -> _Shape:
    stream.seek(0)
    start = read_exactly(stream, len(_SIGNATURE) + 8 + _IHDR.size + 4)
    if start[:8] != _SIGNATURE or start[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise FormatError("damaged: its first bytes are not those of a PNG")
    if zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big"):
        raise FormatError("damaged: the checksum of IHDR differs")
    width, height, bits, colour, compression, filtering, interlace = _IHDR.unpack_from(start, 16)
    if bits not in _BITS.get(colour, ()) or compression or filtering or interlace > 1 or not width or not height:
        raise FormatError("damaged: IHDR describes no PNG")
    return _Shape(width, height, bits, colour, bool(interlace))


class _Pixels:
    """Inflates what it is given, keeps none of it, and counts."""

    def __init__(self, expected: int) -> None:
        self._inflater, self._expected, self._found = zlib.decompressobj(), expected, 0

    def add(self, data: bytes) -> None:
        while data and not self._inflater.eof:
            try:
                self._found += len(self._inflater.decompress(data, _PIECE))
            except zlib.error as error:
                raise FormatError(f"damaged pixels: {error}") from error
            if self._found > self._expected:
                raise FormatError("damaged: more rows than its header says")
            data = self._inflater.unconsumed_tail

    def check_end(self) -> None:
        try:
            self._found += len(self._inflater.flush())  # the last match may wait inside
        except zlib.error as error:
            raise FormatError(f"damaged pixels: {error}") from error
        if self._found < self._expected or not self._inflater.eof:
            raise FormatError(f"truncated: {self._found} of {self._expected} bytes of its rows are there", "truncated")


def _chunks(stream: BinaryIO, pixels: _Pixels) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each chunk after the first, of those that are small; pixels go where they are counted."""
    kind, end = b"", stream.tell() + left_in(stream)
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", read_exactly(stream, 8))
        if stream.tell() + length > end:
            raise FormatError("truncated: a chunk is longer than the file", "truncated")
        if kind not in (b"IDAT", b"fdAT") and length > MOST_HEADER_BYTES:
            raise FormatError(f"a chunk {_shown(kind)} of {length} bytes", "too_large")
        body, checksum = b"", zlib.crc32(kind)
        left = length
        while left:
            piece = read_exactly(stream, min(left, _PIECE))
            left -= len(piece)
            checksum = zlib.crc32(piece, checksum)
            if kind == b"IDAT":
                pixels.add(piece)
            elif kind in (b"sBIT", b"tRNS"):
                body += piece
        if checksum != int.from_bytes(read_exactly(stream, 4), "big"):
            raise FormatError(f"damaged: the checksum of {_shown(kind)} differs")
        yield kind, body


def _shown(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalpha() else kind.hex()
