"""Does a deployed file decide as the trained network does? Measured on the written file, by the engine that runs it.

Decisions, AUC, sensitivity and specificity count radiographs: files of one radiograph are copies and no evidence of
their own. A radiograph's probability is the mean of its files', as in training. Differences of probability count
images: a device meets one image, and a mean over copies would hide how far a single answer may be off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from edge_runtime.bundle import FLOAT32
from edge_runtime.errors import GateError
from edge_runtime.spec import ModelSpec
from export.parity.engine_answers import Answers, ask
from export.parity.shift import ShiftParity
from train.figures.roc import compare_areas
from train.metrics import auc, per_group

# A float file does the same sums as Keras in another order.
FLOAT_TOLERANCE = 1e-5
# Some networks amplify float32 rounding beyond that. Theirs is a multiple of what rounding was measured to do to them
# (export.convert.float_noise): both Keras and the file round, and the largest of many images is looked at.
ROUNDING_FACTOR = 4.0
PERCENTILE = 99.0
CONFIDENCE = 0.95  # of the bounds on the share of changed decisions
_TAIL = (1.0 - CONFIDENCE) / 2  # beyond either end of a two-sided interval
NOT_JUDGED = "not judged"  # verdict of float files, and of every file before the gate


@dataclass(frozen=True)
class EvaluationSet:
    """Images on which files are compared with the network; nothing is chosen or tuned on them."""

    name: str  # where they come from, for people
    images_u8: NDArray[np.uint8]  # (N, S, S), grey 0 to 255
    labels: NDArray[np.int64] | None  # (N,), 1 positive, 0 negative; None where unknown
    reference: NDArray[np.floating]  # (N,), probabilities of the trained network
    rounding: float = 0.0  # largest effect of float32 rounding on a probability of the trained network
    groups: NDArray[np.int64] | None = None  # (N,), independent radiograph of each; None: each image is its own

    def per_radiograph(
        self, probabilities: NDArray[np.floating]
    ) -> tuple[NDArray[np.integer] | None, NDArray[np.float64]]:
        """(labels, probabilities) of each radiograph; labels are None where unknown."""
        groups = np.arange(len(self.images_u8)) if self.groups is None else self.groups
        labels = np.zeros(len(groups), np.int64) if self.labels is None else self.labels
        label_of, probability_of = per_group(labels, probabilities.astype(np.float64), groups)
        return None if self.labels is None else label_of, probability_of


@dataclass(frozen=True)
class FileParity:
    """One deployed file against the trained network."""

    file: str  # name in the bundle
    precision: str  # `float32` or `int8`, of its input
    engine: str  # that ran it
    engine_version: str  # of its package
    bytes: int  # size of the file
    auc: float | None  # area under the ROC curve, per image; None where labels are unknown or of one class
    decisions_changed: int  # images on the other side of the threshold than the network put them
    largest_difference: float  # of probability, over all images
    percentile_99_difference: float  # of probability
    milliseconds: float | None  # median of one inference, without decoding and resizing; None in a bundle
    auc_change: float | None  # of the area per image, from the network's
    radiographs: int  # independent ones behind the images
    radiograph_auc: float | None  # area under the ROC curve, per radiograph
    radiograph_auc_change: float | None  # from the network's
    radiograph_decisions_changed: int  # radiographs on the other side of the threshold
    changed_bound: float  # upper 95 % bound on the share of radiographs whose decision changes
    furthest_changed: float  # largest distance of the network's probability from the threshold where one changed, or 0
    float_sensitivity: float | None  # of the network at the threshold, per radiograph; None where labels are unknown
    sensitivity: float | None  # of the file
    float_specificity: float | None  # of the network
    specificity: float | None  # of the file
    # 95 % intervals of the changes per radiograph, paired: of the area by DeLong, of the shares exactly; None as above
    auc_change_interval: tuple[float, float] | None = None
    sensitivity_change_interval: tuple[float, float] | None = None
    specificity_change_interval: tuple[float, float] | None = None
    shifts: tuple[ShiftParity, ...] = ()  # on images that come otherwise; of int8 files
    worst_image: int | None = None  # row of the image with the largest difference, from 0
    verdict: str = NOT_JUDGED  # of the gate
    reasons: tuple[str, ...] = ()  # for a verdict that is not `passed`, a sentence each


@dataclass(frozen=True)
class Trial:
    """One file of a recipe that was tried on the way to the chosen one."""

    recipe: str  # its name
    file: str  # name in the bundle
    auc_change: float | None  # as `radiograph_auc_change` of the file
    decisions_changed: int | None  # radiographs; None, as all figures, where the recipe could not quantise the network
    radiographs: int | None  # that it was tried on
    percentile_99_difference: float | None  # of probability, per image
    seconds: float | None  # that the recipe took for all formats together; None in a bundle
    outcome: str  # `margin`, `passed`, `failed`, or why there is no file
    chosen: bool = False  # its recipe made the files of the bundle


@dataclass(frozen=True)
class Parity:
    """All files of a bundle against the trained network."""

    images: int  # number of images compared
    measured_on: str  # which images
    threshold: float  # probability from which on an image is positive
    float_auc: float | None  # of the trained network on the same images
    files: tuple[FileParity, ...]  # in the order of the bundle
    float_tolerance: float  # largest difference of probability that a float32 file may show
    radiographs: int = 0  # independent ones behind the images
    float_radiograph_auc: float | None = None  # of the trained network, per radiograph
    verdict: str = NOT_JUDGED  # of the gate: that of the worst int8 file
    limits: dict[str, float] | None = None  # of the gate; None where nothing was judged
    recipe: str | None = None  # that made the int8 files
    tried: tuple[Trial, ...] = ()  # by `auto`, in order
    tried_on: str | None = None  # which images chose the recipe

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types, without the name of any image; a time that is not there is left out."""
        return asdict(self, dict_factory=_with_times_that_are_there)

    def untimed(self) -> Parity:
        """Without times, which are others in every run: the same export has to give the same bundle."""
        files = tuple(replace(one, milliseconds=None) for one in self.files)
        return replace(self, files=files, tried=tuple(replace(one, seconds=None) for one in self.tried))


def _with_times_that_are_there(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in items if value is not None or name not in ("milliseconds", "seconds")}


def measure_file(path: Path, spec: ModelSpec, images: EvaluationSet) -> FileParity:
    """How the answers of one file differ from those of the network.

    Args:
        path: `.tflite` or `.onnx` file with its spec inside.
        spec: with the tensors of this file.
        images: what it is measured on.
    """
    return compare(path, spec, ask(path, spec, images.images_u8), images)


def compare(path: Path, spec: ModelSpec, answers: Answers, images: EvaluationSet) -> FileParity:
    """How answers that an engine gave for one file differ from those of the network; arguments as `measure_file`."""
    return compare_answers(path.name, spec.input.dtype, path.stat().st_size, spec.threshold, answers, images)


def compare_answers(
    file: str, precision: str, size: int, threshold: float, answers: Answers, images: EvaluationSet
) -> FileParity:
    """As `compare`, of a file of that name, precision and size in bytes, which need not be here."""
    probabilities = answers.probabilities
    differences = np.abs(probabilities.astype(np.float64) - images.reference)
    area, float_area = (area_under_curve(images.labels, given) for given in (probabilities, images.reference))
    return FileParity(
        file=file,
        precision=precision,
        engine=answers.engine,
        engine_version=answers.version,
        bytes=size,
        auc=area,
        decisions_changed=int(((probabilities >= threshold) != (images.reference >= threshold)).sum()),
        largest_difference=float(differences.max()),
        percentile_99_difference=float(np.percentile(differences, PERCENTILE)),
        worst_image=int(np.nanargmax(np.where(np.isnan(differences), np.inf, differences))),
        milliseconds=answers.milliseconds,
        auc_change=_change(float_area, area),
        **_radiograph_figures(probabilities, images, threshold),
    )


def _radiograph_figures(probabilities: NDArray[np.floating], images: EvaluationSet, threshold: float) -> dict[str, Any]:
    """The fields of FileParity that count radiographs."""
    labels, answers = images.per_radiograph(probabilities)
    _, reference = images.per_radiograph(images.reference)
    changed = (answers >= threshold) != (reference >= threshold)
    area, float_area = area_under_curve(labels, answers), area_under_curve(labels, reference)
    before, after = reference >= threshold, answers >= threshold
    float_sensitivity, float_specificity = _sensitivity_specificity(labels, before)
    sensitivity, specificity = _sensitivity_specificity(labels, after)
    return {
        "radiographs": len(answers),
        "radiograph_auc": area,
        "radiograph_auc_change": _change(float_area, area),
        "radiograph_decisions_changed": int(changed.sum()),
        "changed_bound": upper_bound(int(changed.sum()), len(answers)),
        "furthest_changed": float(np.abs(reference - threshold)[changed].max(initial=0.0)),
        "float_sensitivity": float_sensitivity,
        "sensitivity": sensitivity,
        "float_specificity": float_specificity,
        "specificity": specificity,
        "auc_change_interval": _auc_change_interval(labels, reference, answers),
        "sensitivity_change_interval": _share_change_interval(labels, 1, before, after),
        "specificity_change_interval": _share_change_interval(labels, 0, ~before, ~after),
    }


def _auc_change_interval(
    labels: NDArray[np.integer] | None, before: NDArray[np.floating], after: NDArray[np.floating]
) -> tuple[float, float] | None:
    if labels is None or not np.isfinite(after).all():
        return None
    paired = compare_areas(labels, after, before)
    if paired is None or paired.difference.low is None or paired.difference.high is None:
        return None
    return paired.difference.low, paired.difference.high


def _share_change_interval(
    labels: NDArray[np.integer] | None, of: int, before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> tuple[float, float] | None:
    """The change of a share among radiographs with one label: exact, given how many changed.

    Of those that changed, which way each went is a coin's toss under no change; Clopper and Pearson's interval of that
    share gives the interval of the difference.
    """
    if labels is None or not (labels == of).any():
        return None
    chosen = labels == of
    gained, lost = int((after & ~before & chosen).sum()), int((before & ~after & chosen).sum())
    changed, count = gained + lost, int(chosen.sum())
    if not changed:
        return 0.0, 0.0
    low = 0.0 if gained == 0 else float(beta.ppf(_TAIL, gained, lost + 1))
    high = 1.0 if lost == 0 else float(beta.ppf(1.0 - _TAIL, gained + 1, lost))
    return (2.0 * low - 1.0) * changed / count, (2.0 * high - 1.0) * changed / count


def lower_bound(changed: int, trials: int) -> float:
    """The one-sided exact lower 95 % bound on a proportion, as `upper_bound`."""
    return 0.0 if changed <= 0 else float(beta.ppf(1.0 - CONFIDENCE, changed, trials - changed + 1))


def upper_bound(changed: int, trials: int) -> float:
    """The one-sided exact upper 95 % bound on a proportion (Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404)."""
    return 1.0 if changed >= trials else float(beta.ppf(CONFIDENCE, changed + 1, trials - changed))


def measure(files: Iterable[tuple[Path, ModelSpec]], images: EvaluationSet) -> Parity:
    """The parity of several files, each with the spec inside it."""
    measured = [(measure_file(path, spec, images), spec.threshold) for path, spec in files]
    return summarise([one for one, _ in measured], measured[0][1], images)


def summarise(files: Sequence[FileParity], threshold: float, images: EvaluationSet) -> Parity:
    """Files that were measured on the same images, as one record."""
    return Parity(
        images=len(images.images_u8),
        measured_on=images.name,
        threshold=threshold,
        float_auc=area_under_curve(images.labels, images.reference),
        files=tuple(files),
        float_tolerance=max(FLOAT_TOLERANCE, ROUNDING_FACTOR * images.rounding),
        radiographs=files[0].radiographs,
        float_radiograph_auc=area_under_curve(*images.per_radiograph(images.reference)),
    )


def require_float_agreement(parity: Parity) -> None:
    """Refuses float32 files whose probabilities are not those of the trained network.

    Raises:
        GateError: some probability differs by more than the float tolerance.
    """
    for one in parity.files:
        # `not <=`, so that a file that answers NaN is refused as well.
        if one.precision == FLOAT32 and not one.largest_difference <= parity.float_tolerance:
            raise GateError(
                f"{one.file}: a probability differs from the trained network's by {one.largest_difference:.2e} in "
                f"{one.engine} {one.engine_version}, of image {_counted(one.worst_image)} of {parity.images} "
                f"({parity.measured_on}); at most {parity.float_tolerance:.1e} was expected, {ROUNDING_FACTOR:g} times "
                "what float32 rounding does to this network, and 1e-05 at least. No bundle was written: the converter "
                "has changed the network; try the other format (--formats), or another version of its layers"
            )


def _counted(row: int | None) -> str:
    return "?" if row is None else str(row + 1)


def area_under_curve(labels: NDArray[np.integer] | None, probabilities: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve; None where labels are unknown or of one class, or an answer is no number."""
    return None if labels is None or not np.isfinite(probabilities).all() else auc(labels, probabilities)


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _sensitivity_specificity(
    labels: NDArray[np.integer] | None, decided: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Shares of the positive found and of the negative left alone; None without any."""
    if labels is None:
        return None, None
    positive = labels == 1
    return _share(decided[positive]), _share(~decided[~positive])


def _share(hits: NDArray[np.bool_]) -> float | None:
    return float(hits.mean()) if hits.size else None
