"""TIFF: size, depth, polarity, and whether every strip or tile is there and inflates (TIFF 6.0, and BigTIFF).

Only the first page counts. Pillow lets strips end early, and leaves 16-bit images inverted whose lowest value is white.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from edge_runtime.formats.header import FormatError, Header, bytes_of_mode, left_in, read_exactly
from edge_runtime.limits import MOST_HEADER_BYTES

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES, _MAX_VALUE, _PLANAR = 273, 278, 279, 281, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_READ = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES),
        *(_MAX_VALUE, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT),
    }
)
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # whole numbers; what the tags above may be written as
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST_ENTRIES = 4096
_PLAIN, _JPEG, _DEFLATE = 1, 7, (8, 32946)
_COMPRESSIONS = {_PLAIN, 2, 3, 4, 5, _JPEG, *_DEFLATE, 32773}  # none, CCITT, LZW, JPEG, Deflate, PackBits
_NAMES = {6: "old-style JPEG", 34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"}
_WHITE_IS_ZERO, _PALETTE = 0, 3
_MODES = {0: "L", 1: "L", _PALETTE: "P"}
_JPEG_BYTES = 6  # a pixel: coefficients of a progressive one
_PIECE = 1 << 20


@dataclass(frozen=True)
class _Page:
    """Whole numbers by their tags."""

    tags: dict[int, tuple[int, ...]]

    def one(self, tag: int, default: int) -> int:
        return self.tags.get(tag, (default,))[0]

    @property
    def is_tiled(self) -> bool:
        return _TILE_OFFSETS in self.tags

    @property
    def bits(self) -> int:
        return max(self.tags.get(_BITS, (1,)))

    @property
    def samples(self) -> int:
        return max(self.one(_SAMPLES, 1), len(self.tags.get(_BITS, (1,))))

    @property
    def pieces(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Offsets and lengths of strips or tiles."""
        names = (_TILE_OFFSETS, _TILE_BYTES) if self.is_tiled else (_STRIP_OFFSETS, _STRIP_BYTES)
        offsets, lengths = (self.tags.get(name, ()) for name in names)
        return offsets, lengths

    @property
    def rows_per_piece(self) -> int:
        height = self.one(_HEIGHT, 0)
        return self.one(_TILE_HEIGHT, 0) if self.is_tiled else min(height, self.one(_ROWS_PER_STRIP, height) or height)

    @property
    def piece_bytes(self) -> int:
        """Of a whole strip or tile, decoded."""
        columns = self.one(_TILE_WIDTH, 0) if self.is_tiled else self.one(_WIDTH, 0)
        samples = 1 if self.one(_PLANAR, 1) == 2 else self.samples
        return self.rows_per_piece * ((columns * samples * self.bits + 7) // 8)


def teach_pillow() -> None:
    """Lets Pillow open the one 16-bit grey TIFF that it lacks, big endian and white at zero; inverted as the others."""
    from PIL import TiffImagePlugin

    key = (b"MM", _WHITE_IS_ZERO, (1,), 1, (16,), ())
    TiffImagePlugin.OPEN_INFO.setdefault(key, ("I;16B", "I;16B"))


def read_header(stream: BinaryIO) -> Header:
    """What the tags of the first page tell.

    Raises:
        FormatError: damaged, or of a kind that is not read.
    """
    page = _read_page(stream)
    _refuse_others(page)
    deep, photometric = page.bits > 8, page.one(_PHOTOMETRIC, _WHITE_IS_ZERO)
    is_grey = page.samples == 1
    has_deep_colours = deep and not is_grey
    mode = _MODES.get(photometric, "RGBA" if page.samples > 3 else "RGB") if is_grey or not deep else "RGBA"
    peak = 12 if has_deep_colours else 9 if page.bits > 16 else bytes_of_mode("I;16" if deep else mode)
    peak += _JPEG_BYTES if page.one(_COMPRESSION, _PLAIN) == _JPEG else 0
    held = 0 if page.one(_COMPRESSION, _PLAIN) == _PLAIN else 2 * page.piece_bytes + max(page.pieces[1], default=0)
    depth, depth_from = _declared(page) if deep else (None, "")
    return Header(
        page.one(_WIDTH, 0),
        page.one(_HEIGHT, 0),
        peak,
        page.bits,
        depth,
        depth_from,
        is_inverted=deep and is_grey and photometric == _WHITE_IS_ZERO,
        has_deep_colours=has_deep_colours,
        channels=page.samples,
        held_bytes=held,
    )


def check_pieces(stream: BinaryIO) -> None:
    """Refuses a file that lacks a strip or tile, or a part of one, or whose deflated ones are damaged.

    Raises:
        FormatError: as above.
    """
    page = _read_page(stream)
    stream.seek(0)
    size = left_in(stream)
    offsets, lengths = page.pieces
    expected = _expected_pieces(page)
    if len(offsets) < expected or not offsets:
        raise FormatError(f"truncated: {len(offsets)} of {expected} strips or tiles are listed", "truncated")
    if len(lengths) < len(offsets):
        if page.one(_COMPRESSION, _PLAIN) != _PLAIN:
            raise FormatError("damaged: it does not tell how long its strips or tiles are")
        lengths = tuple(_bytes_of(page, number, expected) for number in range(len(offsets)))
    for number, (offset, length) in enumerate(zip(offsets[:expected], lengths, strict=False)):
        wanted = _bytes_of(page, number, expected)
        if page.one(_COMPRESSION, _PLAIN) == _PLAIN:
            if length < wanted:
                raise FormatError(f"truncated: strip or tile {number + 1} is too short", "truncated")
        if not length or offset + length > size:
            raise FormatError(f"truncated: strip or tile {number + 1} is not all there", "truncated")
        if page.one(_COMPRESSION, _PLAIN) in _DEFLATE:
            _check_inflates(stream, offset, length, wanted, number)


def _read_page(stream: BinaryIO) -> _Page:
    stream.seek(0)
    start = read_exactly(stream, 8)
    order = "<" if start[:2] == b"II" else ">"
    (version,) = struct.unpack_from(order + "H", start, 2)
    if version not in (42, 43):
        raise FormatError("not an image of a known format", "unsupported")
    big = version == 43
    (at,) = struct.unpack(order + "Q", read_exactly(stream, 8)) if big else struct.unpack_from(order + "I", start, 4)
    size = left_in(stream) + stream.tell()
    if at + 2 > size:
        raise FormatError("truncated: its directory is missing", "truncated")
    stream.seek(at)
    (count,) = struct.unpack(order + ("Q" if big else "H"), read_exactly(stream, 8 if big else 2))
    if count > _MOST_ENTRIES:
        raise FormatError("damaged: its directory has too many entries")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    directory = read_exactly(stream, entry.size * count)
    return _Page(_read_tags(stream, order, list(entry.iter_unpack(directory)), "Q" if big else "I"))


def _read_tags(
    stream: BinaryIO, order: str, entries: list[tuple[int, int, int, bytes]], offset_form: str
) -> dict[int, tuple[int, ...]]:
    tags: dict[int, tuple[int, ...]] = {}
    total = 0
    for tag, kind, count, inline in entries:
        length = _TYPE_BYTES.get(kind, 1) * count
        total += length if length > len(inline) else 0
        if total > MOST_HEADER_BYTES:
            raise FormatError("its directory says more of it than 16 MB", "too_large")
        if tag not in _READ or kind not in _TYPES or not count or tag in tags:
            continue
        if length > len(inline):
            stream.seek(struct.unpack(order + offset_form, inline)[0])
            data = read_exactly(stream, length)
        else:
            data = inline[:length]
        tags[tag] = struct.unpack(f"{order}{count}{_TYPES[kind]}", data)
    return tags


def _refuse_others(page: _Page) -> None:
    compression = page.one(_COMPRESSION, _PLAIN)
    if compression not in _COMPRESSIONS:
        name = _NAMES.get(compression, f"kind {compression}")
        raise FormatError(f"a TIFF compressed by {name}, which is not read; save it without compression", "unsupported")
    if not page.one(_WIDTH, 0) or not page.one(_HEIGHT, 0):
        raise FormatError("damaged: its directory lacks its size")
    if page.bits > 8 and page.samples > 1 and page.one(_PLANAR, 1) == 2:
        raise FormatError("a TIFF of more than 8 bits whose colours lie apart; save it interleaved", "unsupported")
    if page.is_tiled and _STRIP_OFFSETS in page.tags:
        raise FormatError("damaged: it has both strips and tiles")
    if page.is_tiled and not (0 < page.one(_TILE_WIDTH, 0) <= 32_768 and 0 < page.one(_TILE_HEIGHT, 0) <= 32_768):
        raise FormatError("damaged: its tiles have no possible size")


def _declared(page: _Page) -> tuple[int | None, str]:
    """Depth and the tag that says it. 16 bits are what the samples hold, which programs write for any depth."""
    if page.bits < 16:
        return page.bits, "TIFF BitsPerSample"
    most = max(page.tags.get(_MAX_VALUE, (0,)))
    if 255 <= most < 65_535:
        return most.bit_length(), "TIFF MaxSampleValue"
    return None, ""


def _expected_pieces(page: _Page) -> int:
    planes = page.samples if page.one(_PLANAR, 1) == 2 else 1
    down = -(-page.one(_HEIGHT, 0) // max(1, page.rows_per_piece))
    across = -(-page.one(_WIDTH, 0) // page.one(_TILE_WIDTH, 1)) if page.is_tiled else 1
    return planes * down * across


def _bytes_of(page: _Page, number: int, expected: int) -> int:
    """Of one strip or tile, decoded: the last strip of a plane may be shorter."""
    if page.is_tiled:
        return page.piece_bytes
    planes = page.samples if page.one(_PLANAR, 1) == 2 else 1
    per_plane = max(1, expected // planes)
    rows = page.rows_per_piece
    is_last = number % per_plane == per_plane - 1
    there = page.one(_HEIGHT, 0) - rows * (per_plane - 1) if is_last else rows
    return page.piece_bytes // max(1, rows) * there


def _check_inflates(stream: BinaryIO, offset: int, length: int, wanted: int, number: int) -> None:
    """Inflates a strip or tile into nothing: its length and its checksum (Adler-32) must fit."""
    stream.seek(offset)
    inflater, found, left = zlib.decompressobj(), 0, length
    try:
        while left and not inflater.eof:
            data = stream.read(min(left, _PIECE))
            left -= len(data)
            while data and not inflater.eof and found <= wanted:
                found += len(inflater.decompress(data, _PIECE))
                data = inflater.unconsumed_tail
        found += len(inflater.flush())
    except zlib.error as error:
        raise FormatError(f"damaged: strip or tile {number + 1}: {error}") from error
    if found < wanted or not inflater.eof:
        raise FormatError(f"truncated: strip or tile {number + 1} ends early", "truncated")
