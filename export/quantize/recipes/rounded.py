"""Learned rounding: each layer's integers are those that answer best to inputs that are rounded themselves."""

from __future__ import annotations

from export.quantize.recipes.equalised import Equalised
from export.quantize.weight_rounding import Rounding, learned


class Rounded(Equalised):
    """As `Equalised`, with integers chosen layer by layer (see weight_rounding.py) in place of the nearest."""

    name = "rounded"
    rounding: Rounding = staticmethod(learned)
