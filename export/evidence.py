"""The images of one export: those that int8 is calibrated with, and those that the files are judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from export.calibration import FEWEST_IMAGES, CalibrationSet, load_calibration, rows_shared_with
from export.request import ExportRequest
from export.run import FloatNetwork, LabelledImage, read_images

Tell = Callable[[str], None]

MOST_TRAINING_IMAGES = 2_000  # that a recipe may learn from: more cost memory and change little
_SEED = 0  # of the draw among them


@dataclass(frozen=True)
class Evidence:
    """The images of one export, read and checked before anything slow begins."""

    images_u8: NDArray[np.uint8]  # (N, S, S), on which files are compared
    labels: NDArray[np.int64] | None  # (N,), 1 positive; None unknown
    name: str  # where the images come from
    calibration: CalibrationSet | None  # None for a float export


def gather(request: ExportRequest, network: FloatNetwork, warn: Tell) -> Evidence:
    """The images that this export calibrates with and is judged on, which share none.

    Args:
        request: what to export and how.
        network: read from the request's source.
        warn: is given what a user ought to know.

    Raises:
        DataError: images are missing, altered or unfit.
    """
    calibration = _calibration(request, network, warn) if request.int8 else None
    if network.leaked:
        warn("the run's test images share radiographs with its training images: its figures flatter the network")
    if network.test:
        images_u8 = read_images(network, network.test)
        if calibration is not None:
            calibration = _disjoint(calibration, network, images_u8, warn)
        return Evidence(images_u8, _labels([image.label for image in network.test]), "test split", calibration)
    if calibration is None:
        from export.golden import draw_candidates

        return Evidence(draw_candidates(network.spec), None, "phantoms", None)
    warn("no test images: the files are compared on the calibration images, which flatters them")
    return Evidence(calibration.images_u8, _labels(calibration.labels), "calibration images", calibration)


def read_training_images(network: FloatNetwork, calibration: CalibrationSet) -> NDArray[np.uint8]:
    """uint8 (N, S, S), what a recipe may learn from beside the calibration images.

    Of the train split, none whose radiograph stands in another split as well; one of each radiograph first, then
    more, at most MOST_TRAINING_IMAGES. The calibration images where the network was made elsewhere.

    Raises:
        DataError: an image is missing, altered or unreadable.
    """
    elsewhere = {image.group for image in (*network.val, *network.test)}
    alone = [image for image in network.train if image.group not in elsewhere]
    chosen = _one_of_each_group_first(alone)[:MOST_TRAINING_IMAGES]
    return read_images(network, chosen) if chosen else calibration.images_u8


def _one_of_each_group_first(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images in an order drawn at random: the first of every group, then the second, and so on."""
    shuffled = [images[row] for row in np.random.default_rng(_SEED).permutation(len(images))]
    seen: Counter[int] = Counter()
    turns = []
    for image in shuffled:
        turns.append(seen[image.group])
        seen[image.group] += 1
    return [shuffled[row] for row in np.argsort(turns, kind="stable")]


def _labels(labels: Sequence[int | None]) -> NDArray[np.int64] | None:
    """int64 (N,); None where the label of some image is unknown."""
    known = [label for label in labels if label is not None]
    return np.array(known, np.int64) if len(known) == len(labels) else None


def _calibration(request: ExportRequest, network: FloatNetwork, warn: Tell) -> CalibrationSet:
    folder = request.calibration or network.calibration
    if folder is None:
        raise DataError("int8 needs calibration images: --calibration DIR (calibration_data/README.md says how)")
    calibration = load_calibration(folder, network.spec)
    if calibration.phantoms and network.spec.domain == "radiograph":
        message = f"{folder}: phantoms cannot calibrate a network that was trained on radiographs"
        if not request.force:
            raise DataError(f"{message}; give real ones with --calibration DIR, or insist with --force")
        warn(f"{message}; done all the same, because of --force")
    return calibration


def _disjoint(
    calibration: CalibrationSet, network: FloatNetwork, images_u8: NDArray[np.uint8], warn: Tell
) -> CalibrationSet:
    """The calibration images that are not test images too. Only a split known to leak may hold such."""
    shared = rows_shared_with(calibration, (image.sha256 for image in network.test), images_u8)
    if not shared:
        return calibration
    message = f"{calibration.folder}: {len(shared)} of {len(calibration)} calibration images are test images"
    if not network.leaked:
        raise DataError(f"{message}; a file cannot be judged on what it was made with, choose training images")
    if len(calibration) - len(shared) < FEWEST_IMAGES:
        raise DataError(f"{message}; fewer than {FEWEST_IMAGES} would be left")
    warn(f"{message}, because the run's split leaks; they were left out")
    return calibration.without(shared)
