"""Phantoms that no training or calibration set uses: golden images come from them, and tests without radiographs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from train.phantom import draw

CANDIDATES = 200  # phantoms to choose from

_SEED = 20_221  # of the phantoms; no training or calibration set uses it


def draw_candidates(spec: ModelSpec) -> NDArray[np.uint8]:
    """uint8 (CANDIDATES, S, S), phantoms of both classes, preprocessed as the device does it."""
    return np.stack([preprocess(draw(_SEED, index, index % 2).image_u8, spec) for index in range(CANDIDATES)])
