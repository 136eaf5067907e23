"""Values of Keras variables in a file that is whole or not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from edge_runtime.whole_files import whole_file


def store_variables(path: Path, variables: Iterable[keras.Variable]) -> None:
    """Writes the values whole or not at all: a killed run leaves the last whole file."""
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, *[np.asarray(variable) for variable in variables])


def restore_variables(path: Path, variables: Sequence[keras.Variable]) -> None:
    """Gives variables the values that were stored of as many, in the same order."""
    with np.load(path) as stored:
        for variable, name in zip(variables, stored.files, strict=True):
            variable.assign(stored[name])
