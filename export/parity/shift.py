"""Does a file still decide as the network does where images come otherwise: exposed, noisy, blurred, turned, packed?

Decisions of int8 files change more on shifted images than on those like the training images (arXiv:2204.04220), and a
clinic's own device is such a shift. The network meets the same images: how well it does on them is not judged here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edge_runtime.engines import AUTO
from edge_runtime.spec import ModelSpec
from export.parity.engine_answers import ask
from train.metrics import per_group

Grey = NDArray[np.uint8]
Ask = Callable[[Grey], NDArray[np.floating]]  # images (N, S, S) to probabilities (N,)

IMAGES = 100  # of those that judge, evenly apart: each is asked about once for every shift
BANDS = (0.05, 0.1, 0.2)  # distances of the network's probability from the threshold that counts are told by

_SEED = 0
_EXPOSURE = 1.3  # times the light
_NOISE = 8.0  # standard deviation, steps of grey
_BLUR = 1.0  # standard deviation, pixels of the network's input
_DEGREES = 10.0
_JPEG_QUALITY = 30
_PERCENTILE = 99.0


@dataclass(frozen=True)
class ShiftParity:
    """One file beside the network on images of one shift."""

    shift: str  # of SHIFTS
    radiographs: int  # that decisions are counted on
    decisions_changed: int  # radiographs on the other side of the threshold than the network put them
    # (radiographs, changed) by how far the network's probability is from the threshold: below each of BANDS, and beyond
    by_distance: tuple[tuple[int, int], ...]
    percentile_99_difference: float  # of probability, per image

    @property
    def share(self) -> float:
        """Of radiographs whose decision changes."""
        return self.decisions_changed / self.radiographs


@dataclass(frozen=True)
class ShiftedImages:
    """Images of one shift, and what the network says to them."""

    shift: str  # of SHIFTS
    images_u8: Grey  # (n, S, S)
    reference: NDArray[np.floating]  # (n,), probabilities of the trained network
    groups: NDArray[np.int64]  # (n,), independent radiograph of each


def shifted(images_u8: Grey, groups: NDArray[np.int64] | None, network: Ask) -> tuple[ShiftedImages, ...]:
    """The images of every shift with the network's answers, at most IMAGES of each.

    Args:
        images_u8: (N, S, S), as the network takes them.
        groups: (N,), independent radiograph of each; None: each image is its own.
        network: gives the answers that files are held to.
    """
    rows = np.linspace(0, len(images_u8) - 1, min(IMAGES, len(images_u8))).astype(int)
    chosen = np.arange(len(rows)) if groups is None else groups[rows]
    made = []
    for number, (name, shift) in enumerate(SHIFTS.items()):
        # Each image has a draw of its own, whichever others there are.
        draws = [np.random.default_rng((_SEED, number, int(row))) for row in rows]
        turned = np.stack([shift(images_u8[row], draw) for row, draw in zip(rows, draws, strict=True)])
        made.append(ShiftedImages(name, turned, network(turned), chosen))
    return tuple(made)


def measure_shifts(
    path: Path, spec: ModelSpec, images: tuple[ShiftedImages, ...], engine: str = AUTO
) -> tuple[ShiftParity, ...]:
    """How one file answers under each shift, beside the network.

    Args:
        path: `.tflite` or `.onnx` file.
        spec: with the tensors of this file.
        images: of `shifted`.
        engine: of edge_runtime.engines.NAMES, or `auto`.
    """
    return tuple(_compare(ask(path, spec, one.images_u8, engine).probabilities, one, spec.threshold) for one in images)


def _compare(answers: NDArray[np.floating], images: ShiftedImages, threshold: float) -> ShiftParity:
    before, after = (_per_radiograph(given, images.groups) for given in (images.reference, answers))
    changed = (before >= threshold) != (after >= threshold)
    band = np.digitize(np.abs(before - threshold), BANDS)
    counts = tuple((int((band == one).sum()), int(changed[band == one].sum())) for one in range(len(BANDS) + 1))
    differences = np.abs(answers.astype(np.float64) - images.reference)
    return ShiftParity(
        images.shift, len(before), int(changed.sum()), counts, float(np.percentile(differences, _PERCENTILE))
    )


def _per_radiograph(probabilities: NDArray[np.floating], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    return per_group(np.zeros(len(groups), np.int64), probabilities.astype(np.float64), groups)[1]


def _as_grey(values: NDArray[np.floating]) -> Grey:
    grey: Grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return grey


def _exposed(image_u8: Grey, factor: float) -> Grey:
    return _as_grey(image_u8 * factor)


def _noisy(image_u8: Grey, draw: np.random.Generator) -> Grey:
    return _as_grey(image_u8 + draw.normal(0.0, _NOISE, image_u8.shape))


def _blurred(image_u8: Grey, draw: np.random.Generator) -> Grey:
    return np.asarray(Image.fromarray(image_u8).filter(ImageFilter.GaussianBlur(_BLUR)))


def _turned(image_u8: Grey, draw: np.random.Generator) -> Grey:
    angle = _DEGREES * (1 if draw.random() < 0.5 else -1)
    return np.asarray(Image.fromarray(image_u8).rotate(angle, Image.Resampling.BILINEAR))


def _packed(image_u8: Grey, draw: np.random.Generator) -> Grey:
    file = io.BytesIO()
    Image.fromarray(image_u8).save(file, "JPEG", quality=_JPEG_QUALITY)
    return np.asarray(Image.open(file))


SHIFTS: dict[str, Callable[[Grey, np.random.Generator], Grey]] = {
    "brighter": lambda image_u8, draw: _exposed(image_u8, _EXPOSURE),
    "darker": lambda image_u8, draw: _exposed(image_u8, 1 / _EXPOSURE),
    "noise": _noisy,
    "blur": _blurred,
    "rotation": _turned,
    "JPEG": _packed,
}
