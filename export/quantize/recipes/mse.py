"""Least squares: the range of a tensor is the part of its values where rounding and clipping lose least together."""

from __future__ import annotations

from export.quantize.activation_ranges import least_squares_ranges
from export.quantize.int8_files import RangeRule
from export.quantize.recipes.minmax import MinMax


class LeastSquares(MinMax):
    """Clips long tails for finer steps, the same in both formats (Sung et al. 2015, arXiv:1511.06488)."""

    name = "mse"
    rule: RangeRule = staticmethod(least_squares_ranges)
