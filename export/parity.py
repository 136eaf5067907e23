"""Does a deployed file decide as the trained network does? Measured on the written file, by the engine that runs it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines import open_engine
from edge_runtime.errors import GateError
from edge_runtime.spec import ModelSpec
from train.metrics import auc

# A float file does the same sums as Keras in another order.
FLOAT_TOLERANCE = 1e-5
# A deep network amplifies float32 rounding, until Keras' own answers lie more than 1e-5 from those of exact arithmetic.
# The measure is then Keras' own distance: once for it, and up to three times for the file, whose kernels round more.
ROUNDING_FACTOR = 4.0
PERCENTILE = 99.0
FLOAT_PREFIX = "model_float32"  # of the names of float files

_OUTPUT = "probability"


@dataclass(frozen=True)
class EvaluationSet:
    """Images on which files are compared with the network; nothing is chosen or tuned on them."""

    name: str  # where they come from, for people
    images_u8: NDArray[np.uint8]  # (N, S, S), grey 0 to 255
    labels: NDArray[np.int64] | None  # (N,), 1 positive, 0 negative; None where unknown
    reference: NDArray[np.floating]  # (N,), probabilities of the trained network
    rounding: float = 0.0  # largest effect of float32 rounding on a probability of the trained network


@dataclass(frozen=True)
class FileParity:
    """One deployed file against the trained network."""

    file: str  # name in the bundle
    engine: str  # that ran it
    engine_version: str  # of its package
    bytes: int  # size of the file
    auc: float | None  # area under the ROC curve; None where labels are unknown or of one class
    decisions_changed: int  # images on the other side of the threshold than the network put them
    largest_difference: float  # of probability, over all images
    percentile_99_difference: float  # of probability
    milliseconds: float  # median of one inference, without decoding and resizing


@dataclass(frozen=True)
class Parity:
    """All files of a bundle against the trained network."""

    images: int  # number of images compared
    measured_on: str  # which images
    threshold: float  # probability from which on an image is positive
    float_auc: float | None  # of the trained network on the same images
    files: tuple[FileParity, ...]  # in the order of the bundle
    float_tolerance: float  # largest difference of probability that a float32 file may show
    verdict: str = "not judged"  # of the gate

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types, without the name of any image."""
        return asdict(self)


def measure_file(path: Path, spec: ModelSpec, images: EvaluationSet) -> FileParity:
    """How the answers of one file differ from those of the network.

    Args:
        path: `.tflite` or `.onnx` file with its spec inside.
        spec: with the tensors of this file.
        images: what it is measured on.
    """
    engine = open_engine(path, spec)
    probabilities, seconds = np.empty(len(images.images_u8), np.float32), np.empty(len(images.images_u8))
    for row, image_u8 in enumerate(images.images_u8):
        start = time.perf_counter()
        outputs = engine.run(image_u8)
        seconds[row] = time.perf_counter() - start
        probabilities[row] = outputs[_OUTPUT]
    differences = np.abs(probabilities.astype(np.float64) - images.reference)
    return FileParity(
        file=path.name,
        engine=engine.name,
        engine_version=engine.version,
        bytes=path.stat().st_size,
        auc=area_under_curve(images.labels, probabilities),
        decisions_changed=int(((probabilities >= spec.threshold) != (images.reference >= spec.threshold)).sum()),
        largest_difference=float(differences.max()),
        percentile_99_difference=float(np.percentile(differences, PERCENTILE)),
        milliseconds=float(np.median(seconds) * 1e3),
    )


def measure(files: Iterable[tuple[Path, ModelSpec]], images: EvaluationSet) -> Parity:
    """The parity of several files, each with the spec inside it."""
    measured = [(measure_file(path, spec, images), spec.threshold) for path, spec in files]
    return Parity(
        images=len(images.images_u8),
        measured_on=images.name,
        threshold=measured[0][1],
        float_auc=area_under_curve(images.labels, images.reference),
        files=tuple(parity for parity, _ in measured),
        float_tolerance=max(FLOAT_TOLERANCE, ROUNDING_FACTOR * images.rounding),
    )


def require_float_agreement(parity: Parity) -> None:
    """Refuses float32 files whose probabilities are not those of the trained network.

    Raises:
        GateError: some probability differs by more than the float tolerance.
    """
    for one in parity.files:
        # `not <=`, so that a file that answers NaN is refused as well.
        if one.file.startswith(FLOAT_PREFIX) and not one.largest_difference <= parity.float_tolerance:
            raise GateError(
                f"{one.file}: a probability differs from the trained network's by {one.largest_difference:.2e} in "
                f"{one.engine} {one.engine_version}; at most {parity.float_tolerance:.1e} was expected of a "
                "float file. No bundle was written: the converter has changed the network"
            )


def area_under_curve(labels: NDArray[np.int64] | None, probabilities: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve; None where labels are unknown or of one class."""
    return None if labels is None else auc(labels, probabilities)
