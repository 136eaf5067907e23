"""The images of one export: those that calibrate int8, those that choose a recipe, and those that judge the files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from export.inputs.calibration import (
    FEWEST_IMAGES,
    CalibrationSet,
    load_calibration,
    load_folder,
    pixels_sha256,
    rows_shared_with,
)
from export.inputs.phantom_images import draw_candidates
from export.inputs.run_reader import FloatNetwork, LabelledImage, read_images
from export.request import AUTO, ExportRequest

log = logging.getLogger(__name__)

MOST_TRAINING_IMAGES = 2_000  # that a recipe may learn from: more cost memory and change little
_SEED = 0  # of the draw among them


@dataclass(frozen=True)
class ImageSet:
    """Images on which files are compared with the network."""

    name: str  # where they come from
    images_u8: NDArray[np.uint8]  # (N, S, S), grey 0 to 255
    labels: NDArray[np.int64] | None  # (N,), 1 positive, 0 negative; None where unknown
    groups: NDArray[np.int64] | None = None  # (N,), independent radiograph of each; None: each image is its own


@dataclass(frozen=True)
class ImageSets:
    """The images of one export, read and checked before anything slow begins."""

    judging: ImageSet  # on which the written files are compared
    independent: bool  # the judging images have no part in making the files
    calibration: CalibrationSet | None = None  # None for a float export


def gather(request: ExportRequest, network: FloatNetwork) -> ImageSets:
    """The images that this export calibrates with and is judged on, which share none.

    Args:
        request: what to export and how.
        network: read from the request's source.

    Raises:
        DataError: images are missing, altered or unfit.
    """
    calibration = _calibration(request, network) if request.int8 else None
    if calibration is not None:
        _refuse_set_aside(calibration, network)
    if network.leaked:
        log.warning("the run's test images share radiographs with its training images: its figures flatter the network")
    if request.evaluate is not None:
        return ImageSets(_given_images(request.evaluate, network, calibration), True, calibration)
    if network.test:
        judging = _judging_split(request, network)
        if calibration is not None:
            calibration = _disjoint(calibration, network, judging.images_u8)
        return ImageSets(judging, True, calibration)
    if calibration is None:
        return ImageSets(ImageSet("phantoms", draw_candidates(network.spec), None), True)
    log.warning("no test images: the files are compared on the calibration images, which flatters them; see --evaluate")
    return ImageSets(as_images("calibration images", calibration), False, calibration)


def choosing_images(network: FloatNetwork, calibration: CalibrationSet) -> ImageSet:
    """The images that choose a recipe: the validation split; the calibration images where there is none.

    Raises:
        DataError: an image is missing, altered or unreadable.
    """
    if network.val:
        return read_split(network, "val")
    log.warning("no validation images: the recipe is chosen on the calibration images, which flatters every recipe")
    return as_images("calibration images", calibration)


def read_split(network: FloatNetwork, split: str) -> ImageSet:
    """The images of `val` or `test`, with labels and radiographs.

    Raises:
        DataError: an image is missing, altered or unreadable.
    """
    images = network.val if split == "val" else network.test
    return ImageSet(
        "validation split" if split == "val" else "test split",
        read_images(network, images),
        np.array([image.label for image in images], np.int64),
        np.array([image.group for image in images], np.int64),
    )


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


def _judging_split(request: ExportRequest, network: FloatNetwork) -> ImageSet:
    """The test split, and with it the validation split where that chooses no recipe: parity needs many radiographs.

    Validation radiographs chose epoch and threshold of the network, which is no part of how far a file is from it.
    """
    test = read_split(network, "test")
    if not request.int8 or request.recipe == AUTO or network.leaked or not network.val:
        return test
    val = read_split(network, "val")
    return ImageSet(
        "test and validation split, which chose nothing of the files",
        np.concatenate([test.images_u8, val.images_u8]),
        _joined(test.labels, val.labels),
        _joined(test.groups, val.groups),
    )


def _joined(one: NDArray[np.int64] | None, other: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    return None if one is None or other is None else np.concatenate([one, other])


def _one_of_each_group_first(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images in an order drawn at random: the first of every group, then the second, and so on."""
    shuffled = [images[row] for row in np.random.default_rng(_SEED).permutation(len(images))]
    seen: Counter[int] = Counter()
    turns = []
    for image in shuffled:
        turns.append(seen[image.group])
        seen[image.group] += 1
    return [shuffled[row] for row in np.argsort(turns, kind="stable")]


def _given_images(folder: Path, network: FloatNetwork, calibration: CalibrationSet | None) -> ImageSet:
    """Images given to judge; none is a calibration image, nor one that trained or chose anything in a run."""
    given = load_folder(folder, network.spec, fewest=1, kind="evaluation")
    if calibration is not None:
        shared = rows_shared_with(given, (*calibration.sha256, *calibration.source_sha256), calibration.images_u8)
        if shared:
            raise DataError(
                f"{folder}: {len(shared)} of {len(given)} evaluation images are calibration images; "
                "a file cannot be judged on what it was made with, remove them from one of the two folders"
            )
    learnt = rows_shared_with(given, (image.sha256 for image in (*network.train, *network.val)), ())
    if learnt:
        raise DataError(
            f"{folder}: {len(learnt)} of {len(given)} evaluation images trained the run or chose among its epochs; "
            "leave these out"
        )
    return as_images("evaluation images", given)


def as_images(name: str, images: CalibrationSet) -> ImageSet:
    """Images of a folder; those of the same pixels are one radiograph, other copies cannot be told from here."""
    pixels = [pixels_sha256(image_u8) for image_u8 in images.images_u8]
    groups = np.unique(pixels, return_inverse=True)[1].astype(np.int64)
    return ImageSet(name, images.images_u8, _labels(images.labels), groups)


def _labels(labels: Sequence[int | None]) -> NDArray[np.int64] | None:
    """int64 (N,); None where the label of some image is unknown."""
    known = [label for label in labels if label is not None]
    return np.array(known, np.int64) if len(known) == len(labels) else None


def _calibration(request: ExportRequest, network: FloatNetwork) -> CalibrationSet:
    folder = request.calibration or network.calibration
    if folder is None:
        raise DataError("int8 needs calibration images: --calibration DIR (calibration_data/README.md says how)")
    calibration = load_calibration(folder, network.spec)
    if calibration.phantoms and network.spec.domain == "radiograph":
        message = f"{folder}: phantoms cannot calibrate a network that was trained on radiographs"
        if not request.calibrate_with_phantoms:
            insist = "give real ones with --calibration DIR, or insist with --calibrate-with-phantoms"
            raise DataError(f"{message}; {insist}")
        log.warning(f"{message}; done all the same, because of --calibrate-with-phantoms")
    return calibration


def _refuse_set_aside(calibration: CalibrationSet, network: FloatNetwork) -> None:
    """Refuses calibration images among those that a run has set aside for its coverage."""
    shared = rows_shared_with(calibration, (image.sha256 for image in network.aside), ())
    if shared:
        raise DataError(
            f"{calibration.folder}: {len(shared)} of {len(calibration)} calibration images were set aside for the "
            "coverage, whose limits may rest on nothing else; choose training images"
        )


def _disjoint(calibration: CalibrationSet, network: FloatNetwork, images_u8: NDArray[np.uint8]) -> CalibrationSet:
    """The calibration images without those that show a test radiograph, which only a leaking split may hold."""
    files = rows_shared_with(calibration, (image.sha256 for image in network.test), images_u8)
    copies = sorted({*files, *_rows_of_test_radiographs(calibration, network)})
    if not copies:
        return calibration
    message = f"{calibration.folder}: {len(files)} of {len(calibration)} calibration images are test images"
    if len(copies) > len(files):
        message += f", {len(copies) - len(files)} more show a radiograph of the test split"
    if not network.leaked:
        raise DataError(f"{message}; a file cannot be judged on what it was made with, choose training images")
    # Where the split leaks, every training image may have a copy in test: then those of other files have to do.
    left_out = copies if len(calibration) - len(copies) >= FEWEST_IMAGES else files
    if len(calibration) - len(left_out) < FEWEST_IMAGES:
        raise DataError(f"{message}; fewer than {FEWEST_IMAGES} would be left")
    log.warning(f"{message}, because the run's split leaks; {len(left_out)} were left out")
    return calibration.without(left_out)


def _rows_of_test_radiographs(calibration: CalibrationSet, network: FloatNetwork) -> list[int]:
    """Indices of calibration images made from a file of the run whose radiograph stands in the test split as well."""
    in_test = {image.group for image in network.test}
    files = {image.sha256 for image in (*network.train, *network.val, *network.test) if image.group in in_test}
    return [
        row
        for row, digests in enumerate(zip(calibration.sha256, calibration.source_sha256, strict=True))
        if files & set(digests)
    ]
