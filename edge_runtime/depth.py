"""Which value of a deep image is white: what the file declares, else the bits that nearly all of its pixels fit into.

A detector of 12 bits writes 0 to 4095 into samples of 16. Its brightest pixel does not tell: one that is stuck, or a
side marker that a program painted on at 65,535, would make all the others sixteen times darker. The rule was chosen on
993 radiographs (`docs/reliability.md`): with any share from 0.001 % to 1 % it found the depth of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEPTHS = (8, 10, 12, 14, 16)  # bits of detectors; what a 16-bit file may hold
BY_VALUES = "values"  # nobody declared it
_OUTSIDE_SHARE = 0.01  # of the pixels that may be brighter than white: stuck ones and markers
_PIECE = 1 << 20  # pixels


@dataclass(frozen=True)
class Depth:
    """How deep an image is."""

    bits: int  # of a pixel that mean something
    source: str  # what decided
    white: int  # the value that is white
    outside: int = 0  # pixels brighter than white


def find_depth(values: NDArray[np.integer]) -> Depth:
    """The smallest depth of detectors that holds 99 % of the pixels, and all of them but one of a tiny image."""
    highest = int(values.max())
    for bits in DEPTHS[:-1]:
        outside = 0 if highest < 1 << bits else _count_from(values, 1 << bits)
        if outside <= _allowed(values):
            return Depth(bits, BY_VALUES, (1 << bits) - 1, outside)
    return Depth(DEPTHS[-1], BY_VALUES, (1 << DEPTHS[-1]) - 1)


def declared_depth(values: NDArray[np.integer], bits: int, source: str) -> Depth:
    """The depth that a file declares, and the value that is white by it.

    PNG asks programs to stretch samples to the full 16 bits and to say by sBIT how many meant something; others write
    them as they are. Values beyond the declared depth tell that they were stretched.
    """
    outside = _count_from(values, 1 << bits) if bits < DEPTHS[-1] else 0
    if outside <= _allowed(values):
        return Depth(bits, source, (1 << bits) - 1, outside)
    return Depth(bits, source, (1 << DEPTHS[-1]) - 1)


def to_grey(values: NDArray[np.integer], white: int, is_inverted: bool = False) -> NDArray[np.uint8]:
    """uint8 of the same shape (H, W), 0 black.

    Args:
        values: not negative.
        white: the value that becomes 255, as do all above it.
        is_inverted: whether 0 is white instead.
    """
    grey_u8 = np.empty(values.shape, np.uint8)
    rows = max(1, _PIECE // max(1, values.shape[1]))
    bits = (white + 1).bit_length() - 1
    for top in range(0, len(values), rows):
        piece = np.minimum(values[top : top + rows], white)
        piece = white - piece if is_inverted else piece
        # A whole number of bits is shifted, which is exact both ways; other values of white are rounded.
        is_shifted = white + 1 == 1 << bits and bits >= 8
        grey_u8[top : top + rows] = (
            piece >> (bits - 8) if is_shifted else (piece.astype(np.uint32) * 255 + white // 2) // white
        )
    return grey_u8


def _allowed(values: NDArray[np.integer]) -> int:
    return max(1, int(values.size * _OUTSIDE_SHARE))


def _count_from(values: NDArray[np.integer], least: int) -> int:
    rows = max(1, _PIECE // max(1, values.shape[1]))
    return sum(int(np.count_nonzero(values[top : top + rows] >= least)) for top in range(0, len(values), rows))
