"""Percentile: the range of a tensor leaves its rarest values out, at either end."""

from __future__ import annotations

from export.quantize.activation_ranges import percentile_ranges
from export.quantize.int8_files import RangeRule
from export.quantize.recipes.minmax import MinMax


class Percentile(MinMax):
    """Clips one value in ten thousand at either end, the same in both formats (Wu et al. 2020, arXiv:2004.09602)."""

    name = "percentile"
    rule: RangeRule = staticmethod(percentile_ranges)
