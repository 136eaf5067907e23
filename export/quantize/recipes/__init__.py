"""Quantisation recipes by name: a prepared network and images to learn from in, int8 files out.

To add one: an entry in `table.py`, and its name in NAMES here, which commands read before any converter is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import DataError
from export.request import AUTO as AUTO

if TYPE_CHECKING:
    from export.quantize.recipes.recipe import Recipe

# From cheapest to dearest: first those that add no operation, by the time that they take, then the one that does.
NAMES = ("minmax", "percentile", "mse", "equalised", "rounded", "finetuned", "channel_duplication")
ALIASES = {"staggered": "channel_duplication"}  # names of earlier versions
ROUNDING = ("equalised", "rounded")  # choose integers for kernels: no use where these lie on the int8 grid already
SLOW_ON_DEVICE = ("channel_duplication",)  # its files calculate more: `auto` tries it only where the aim is asked for
TRAINED = ("finetuned",)  # take many minutes: `auto` tries them only where it is given a budget


def open_recipe(name: str) -> Recipe:
    """The recipe of that name, or of one that it had in earlier versions.

    Raises:
        DataError: there is none.
    """
    from export.quantize.recipes.table import RECIPES  # with it come the converters, which are slow to import

    known = ALIASES.get(name, name)
    if known not in RECIPES:
        raise DataError(f"--recipe {name}: no such recipe; there are {', '.join(NAMES)}")
    return RECIPES[known]
