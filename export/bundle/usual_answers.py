"""What answers and images are usual, for a device to see where a day's part from them: `answers` of the manifest.

Radiographs of the run are read as the device reads them, gate included, and their answers counted. Those of the test
split where there is one, for a network is surer of what it has learnt from; then validation, then training. No image
and no name is in it: thirty-one counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ImageError, StorageError
from edge_runtime.images import DecodedImage, read_image
from edge_runtime.predictor import pixel_statistics
from edge_runtime.preprocess import preprocess
from edge_runtime.radiograph_gate import look
from edge_runtime.serving.drift import counted, reference_to_dict
from edge_runtime.serving.store import tenths_of
from export.inputs.run_reader import FloatNetwork

MOST_IMAGES = 500  # whose answers are counted: more tell a day apart no better

log = logging.getLogger(__name__)

Judge = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]


def usual_answers(network: FloatNetwork, probabilities: Judge) -> dict[str, Any] | None:
    """The counts, plain JSON types; None where the network is not of a run, or its radiographs are not there.

    Args:
        network: of the run.
        probabilities: of images uint8 (N, S, S): float (N,).
    """
    images = network.test or network.val or network.train
    if network.data_root is None or not images:
        return None
    rows = np.linspace(0, len(images) - 1, min(MOST_IMAGES, len(images))).astype(int)
    paths = [network.data_root / images[row].path for row in rows]
    decided_u8, abstained = _decided([path for path in paths if path.is_file()], network)
    if not decided_u8:
        log.warning("none of the run's radiographs is there: the bundle says nothing of usual answers; see --data")
        return None
    # As a device counts its own: what gets no decision is abstained, for the gate or for the network's coverage.
    tenths = [
        (
            bool(network.spec.doubt(float(probability))),
            *tenths_of((float(probability), seen["mean"], seen["deviation"])),
            1,
        )
        for probability, seen in zip(
            probabilities(np.stack(decided_u8)), map(pixel_statistics, decided_u8), strict=True
        )
    ]
    return reference_to_dict(counted([*tenths, (True, None, None, None, abstained)]))


def _decided(paths: list[Path], network: FloatNetwork) -> tuple[list[NDArray[np.uint8]], int]:
    """(images as the network sees them, uint8 (S, S), how many others get no decision)."""
    has_gate, size = network.spec.domain == "radiograph", network.spec.size
    decided_u8: list[NDArray[np.uint8]] = []
    abstained = 0
    for path in paths:
        try:
            decoded: DecodedImage = read_image(path, size, None, has_gate)
        except (ImageError, StorageError):  # gets an error on the device, and no answer
            continue
        if has_gate and not look(decoded.grey_u8, decoded.chroma_u8).is_radiograph:
            abstained += 1
        else:
            decided_u8.append(preprocess(decoded.grey_u8, network.spec))
    return decided_u8, abstained
