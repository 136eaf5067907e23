"""Runs on either machine: prints what model files answer to images, with the runtime that is installed there.

python answers.py IMAGES.npy COUNT MODEL...    one JSON object: {name of model file: [probability, ...]}, and `peak_mb`
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

from edge_runtime import Predictor


def main(images: str, count: str, *models: str) -> None:
    """Prints the answers to the first images of an array of grey uint8 (N, S, S)."""
    images_u8 = np.load(images)[: int(count)]
    answers: dict[str, object] = {}
    for model in models:
        predictor = Predictor(Path(model))
        answers[Path(model).name] = [predictor.probability(image_u8) for image_u8 in images_u8]
    answers["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
