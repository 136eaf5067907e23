"""Image files written byte by byte, right ones and wrong ones: encoders do not write what they should not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # samples a pixel -> PNG's colour type


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    samples: NDArray[np.integer],
    significant: int | None = None,
    transparent: tuple[int, ...] | None = None,
    before: bytes = b"",
    row_filter: int = 0,
) -> bytes:
    """A PNG of uint8 or uint16 samples (H, W) or (H, W, 2 to 4).

    Args:
        samples: as they are written.
        significant: bits for the chunk sBIT.
        transparent: samples for the chunk tRNS.
        before: whole chunks to stand before the pixels.
        row_filter: 0 none, 1 difference from the pixel before.
    """
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    bits = 8 * samples.dtype.itemsize
    rows = samples.astype(f">u{bits // 8}").reshape(height, -1).view(np.uint8).reshape(height, -1)
    if row_filter:
        step = channels * bits // 8
        rows = rows - np.hstack([np.zeros((height, step), np.uint8), rows[:, :-step]])
    raw = np.hstack([np.full((height, 1), row_filter, np.uint8), rows]).tobytes()
    head = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    extra = chunk(b"sBIT", bytes([significant]) * channels) if significant else b""
    extra += chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    body = chunk(b"IHDR", head) + before + extra + chunk(b"IDAT", zlib.compress(raw))
    return PNG_SIGNATURE + body + chunk(b"IEND", b"")


def netpbm(samples: NDArray[np.integer], maxval: int, plain: bool = False) -> bytes:
    """A PGM or PPM."""
    height, width = samples.shape[:2]
    magic = {(2, False): 5, (2, True): 2, (3, False): 6, (3, True): 3}[samples.ndim, plain]
    head = f"P{magic}\n# made by a test\n{width} {height}\n{maxval}\n".encode()
    if plain:
        return head + " ".join(map(str, samples.ravel())).encode() + b"\n"
    return head + samples.astype(">u2" if maxval > 255 else np.uint8).tobytes()


def tiff(
    samples: NDArray[np.integer],
    bits: int | None = None,
    order: str = "<",
    compression: int = 1,
    photometric: int | None = None,
    rows_per_strip: int | None = None,
    tile: int | None = None,
    big: bool = False,
    tags: Mapping[int, int | None] | None = None,
    alter: Mapping[int, bytes] | None = None,
) -> bytes:
    """A TIFF of strips, or of tiles.

    Args:
        samples: uint8 or uint16, (H, W) or (H, W, 3 or 4).
        bits: 12 packs three bytes for two samples.
        order: `<` or `>`.
        compression: 1 none, 8 deflate.
        photometric: 0 white is zero, 1 black is zero, 2 colours.
        rows_per_strip: rows in each.
        tile: side of square tiles in place of strips.
        big: whether to write a BigTIFF.
        tags: more, or others, as 32-bit numbers; None leaves one out.
        alter: number of a strip or tile -> its bytes as they are to be stored.
    """
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    bits = bits or 8 * samples.dtype.itemsize
    rows_per_strip = rows_per_strip or height
    parts = []
    for number, part in enumerate(_tiles(samples, tile) if tile else _strips(samples, rows_per_strip)):
        raw = _packed_12(part) if bits == 12 else part.astype(f"{order}u{bits // 8}").tobytes()
        parts.append((alter or {}).get(number, zlib.compress(raw) if compression == 8 else raw))
    entries = {256: width, 257: height, 259: compression, 262: (1 if channels == 1 else 2), 277: channels}
    entries |= {322: tile, 323: tile} if tile else {278: rows_per_strip}
    entries |= ({262: photometric} if photometric is not None else {}) | ({338: 2} if channels == 4 else {})
    at = 16 if big else 8
    offsets = [at + sum(map(len, parts[:number])) for number in range(len(parts))]
    arrays = {258: [bits] * channels, (324 if tile else 273): offsets, (325 if tile else 279): list(map(len, parts))}
    listed: dict[int, list[int]] = {**{tag: [value] for tag, value in entries.items()}, **arrays}
    for tag, value in (tags or {}).items():
        if value is None:
            del listed[tag]
        else:
            listed[tag] = [value]
    return _tiff_file(b"".join(parts), listed, order, big)


def _strips(samples: NDArray[np.integer], rows: int) -> list[NDArray[np.integer]]:
    return [samples[top : top + rows] for top in range(0, len(samples), rows)]


def _tiles(samples: NDArray[np.integer], side: int) -> list[NDArray[np.integer]]:
    margins = [(0, -size % side) for size in samples.shape[:2]] + [(0, 0)] * (samples.ndim - 2)
    whole = np.pad(samples, margins)
    tops, lefts = range(0, whole.shape[0], side), range(0, whole.shape[1], side)
    return [whole[top : top + side, left : left + side] for top in tops for left in lefts]


def _tiff_file(pixels: bytes, listed: Mapping[int, list[int]], order: str, big: bool) -> bytes:
    room, offset_form, count_form = (8, "Q", "Q") if big else (4, "I", "H")
    at, blobs, directory = (16 if big else 8) + len(pixels), b"", b""
    for tag, values in sorted(listed.items()):
        inline = struct.pack(f"{order}{len(values)}I", *values)
        if len(inline) > room:
            inline, blobs = struct.pack(f"{order}{offset_form}", at + len(blobs)), blobs + inline
        directory += struct.pack(f"{order}HH{offset_form}", tag, 4, len(values)) + inline.ljust(room, b"\0")
    start = b"II" if order == "<" else b"MM"
    begin = at + len(blobs)
    head = start + (struct.pack(f"{order}HHHQ", 43, 8, 0, begin) if big else struct.pack(f"{order}HI", 42, begin))
    return head + pixels + blobs + struct.pack(f"{order}{count_form}", len(listed)) + directory + bytes(room)


def _packed_12(samples: NDArray[np.integer]) -> bytes:
    pairs = samples.reshape(len(samples), -1, 2).astype(np.uint16)
    first, second = pairs[..., 0], pairs[..., 1]
    three = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    return three.astype(np.uint8).tobytes()
