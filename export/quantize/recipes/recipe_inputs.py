"""What recipes are given to learn from and to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.inputs.calibration import CalibrationSet


@dataclass(frozen=True)
class RecipeInputs:
    """What a recipe may learn from and work with. No image in it is one that files are judged on."""

    calibration: CalibrationSet  # images that set the ranges of activations
    training: Callable[[], NDArray[np.uint8]]  # uint8 (N, S, S) of the train split, or calibration; read when called
    state: Path | None = None  # folder in which a long recipe keeps what it would resume from; None: keep nothing
    budget_minutes: float | None = None  # of wall time that fine-tuning may take; None: as long as it needs
    allow_mixed: bool = False  # files may leave in float what their format cannot hold in int8
