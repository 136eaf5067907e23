"""Learned rounding: each layer's integers are those that answer best to inputs that are rounded themselves."""

from __future__ import annotations

from export.recipes.equalised import Equalised
from export.reconstruction import Rounding, learned


class Rounded(Equalised):
    """As `Equalised`, with integers chosen layer by layer (see export.reconstruction) in place of the nearest."""

    name = "rounded"
    rounding: Rounding = staticmethod(learned)
