"""Which part of a tensor's values int8 covers: rules over a histogram, for files and for networks alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.int8.grid import STEPS, integers_around_zero, round_to_grid

BINS = 2048  # of a histogram: 8 for each step of int8

_FRACTIONS = np.linspace(0.2, 1.0, 33)  # of the full range, tried
_TAIL = 1e-4  # share of values beyond either end of a percentile range


def least_squares_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """As `least_squares_ranges`, of the values of one tensor; zero lies in it."""
    full = float(values.min()), float(values.max())
    if is_flat(*full):
        return min(full[0], 0.0), max(full[1], 0.0)
    return least_squares(np.histogram(values, BINS, full)[0], *full)


def least_squares(counts: NDArray[np.floating], lowest: float, highest: float) -> tuple[float, float]:
    """The part of the full range with the least mean square error."""
    edges = np.linspace(lowest, highest, BINS + 1)
    values = (edges[:-1] + edges[1:]) / 2
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)  # zero is always one of the steps
    errors = []
    for fraction in _FRACTIONS:
        scale = (highest - lowest) * fraction / STEPS
        rounded = round_to_grid(values, scale, integers_around_zero(lowest * fraction, scale))
        errors.append(float(counts @ np.square(rounded - values)))
    best = float(_FRACTIONS[int(np.argmin(errors))])
    return lowest * best, highest * best


def without_tails(counts: NDArray[np.floating], lowest: float, highest: float) -> tuple[float, float]:
    """The range between the outermost percentiles, to the width of a bin; zero lies in it."""
    edges = np.linspace(lowest, highest, BINS + 1)
    below = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(below, _TAIL, side="right"))
    last = int(np.searchsorted(below, 1.0 - _TAIL, side="left"))
    return min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0)


def is_flat(lowest: float, highest: float) -> bool:
    """Whether a range is too narrow, beside its values, to be divided into bins in float32."""
    return bool(highest - lowest <= BINS * np.finfo(np.float32).eps * max(abs(lowest), abs(highest)))
