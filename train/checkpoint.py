"""Values of Keras variables in a file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np


def store_variables(path: Path, variables: Iterable[keras.Variable]) -> None:
    """Writes the values beside their place and renames the file: a killed run leaves the last whole one."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as stream:
        np.savez(stream, *[np.asarray(variable) for variable in variables])
    os.replace(unfinished, path)


def restore_variables(path: Path, variables: Sequence[keras.Variable]) -> None:
    """Gives variables the values that were stored of as many, in the same order."""
    with np.load(path) as stored:
        for variable, name in zip(variables, stored.files, strict=True):
            variable.assign(stored[name])
