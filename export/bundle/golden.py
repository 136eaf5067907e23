"""Golden images: a few phantoms with the answer of each file, so that a device tests itself without a radiograph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.engines import open_engine
from edge_runtime.spec import ModelSpec

FOLDER = "golden"
EXPECTED = "expected.json"
IMAGES = 8


def spread_around(threshold: float, probabilities: NDArray[np.floating]) -> list[int]:
    """Indices of IMAGES probabilities: the two next to the threshold, the others evenly from lowest to highest."""
    levels = [threshold, threshold, *np.linspace(probabilities.min(), probabilities.max(), IMAGES - 2)]
    left = dict(enumerate(probabilities.tolist()))
    chosen = []
    for level in levels:
        nearest = min(left, key=lambda index: (abs(left[index] - level), index))
        chosen.append(nearest)
        del left[nearest]
    return sorted(chosen)


def write_golden(folder: Path, images_u8: Mapping[int, NDArray[np.uint8]], models: Mapping[Path, ModelSpec]) -> None:
    """Writes a lossless PNG of each image, and `expected.json` with the answers of every model file.

    Args:
        folder: to be made.
        images_u8: uint8 (S, S), by the index of the phantom.
        models: model file to the spec inside it.
    """
    folder.mkdir()
    engines = {path.name: open_engine(path, spec) for path, spec in models.items()}
    expected = {}
    for index, image_u8 in images_u8.items():
        name = f"phantom_{index:03d}.png"
        Image.fromarray(image_u8).save(folder / name)
        expected[name] = {
            model: {output: value.tolist() for output, value in engine.run(image_u8).items()}
            for model, engine in engines.items()
        }
    (folder / EXPECTED).write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
