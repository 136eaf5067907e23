"""Quantisation recipes behind one protocol: a float network and images to learn from in, int8 files out.

To add one: a file here with a class that satisfies `Recipe`, and a line in `_RECIPES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError

if TYPE_CHECKING:
    import keras

    from export.inputs.calibration import CalibrationSet


@dataclass(frozen=True)
class Material:
    """What a recipe may learn from and work with. No image in it is one that files are judged on."""

    calibration: CalibrationSet  # images that set the ranges of activations
    training: Callable[[], NDArray[np.uint8]]  # uint8 (N, S, S) of the train split, or calibration; read when called
    tell: Callable[[str], None]  # is given a line at each step
    state: Path | None = None  # folder in which a long recipe keeps what it would resume from; None: keep nothing
    budget_minutes: float | None = None  # of wall time that fine-tuning may take; None: as long as it needs


class Recipe(Protocol):
    """Makes int8 files."""

    name: str  # as in `--recipe`

    def quantize(self, model: keras.Model, float_files: Mapping[str, bytes], material: Material) -> dict[str, bytes]:
        """The int8 file of each format, by suffix.

        Both formats are asked for at once, so that a recipe can share ranges and rounded weights between them.

        Args:
            model: takes `grey`, (N, S, S, 1), 0 to 1. It is not changed.
            float_files: the float files by suffix, `.tflite` or `.onnx`; the answer has the same suffixes.
            material: images that may be learnt from.

        Raises:
            ModelError: the network cannot be quantised.
        """


# name -> (module, class); imported when opened, because converters are slow to import.
_RECIPES = {
    "minmax": ("export.quantize.recipes.minmax", "MinMax"),
    "percentile": ("export.quantize.recipes.percentile", "Percentile"),
    "mse": ("export.quantize.recipes.mse", "LeastSquares"),
    "equalised": ("export.quantize.recipes.equalised", "Equalised"),
    "rounded": ("export.quantize.recipes.rounded", "Rounded"),
    "staggered": ("export.quantize.recipes.staggered", "Staggered"),
    "finetuned": ("export.quantize.recipes.finetuned", "FineTuned"),
}
NAMES = tuple(_RECIPES)  # from cheapest to dearest
ROUNDING = ("equalised", "rounded")  # choose integers for kernels: no use where these lie on the int8 grid already
TRAINED = ("finetuned",)  # take many minutes: `auto` tries them only where it is given a budget
AUTO = "auto"  # in place of a name: the cheapest that does, see export/auto.py


def open_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        DataError: there is none.
    """
    if name not in _RECIPES:
        raise DataError(f"--recipe {name}: no such recipe; there are {', '.join(NAMES)}")
    module, class_name = _RECIPES[name]
    recipe: Recipe = getattr(importlib.import_module(module), class_name)()
    return recipe
