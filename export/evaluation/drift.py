"""Do images part from those of a run? Its training images by simple statistics, its test split by probability.

The population stability index is the sum over bins of (a - e) ln(a / e), a and e the shares of these images and of
the run's. By custom 0.1 is noticeable and 0.25 is much. Where nothing differs it is a chi-square variable of bins - 1
degrees of freedom times (1/n + 1/m) (Yurdakul and Naranjo, Journal of Risk Model Validation 2020): a warning needs
both, 0.1 and what chance does once in a thousand times.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from edge_runtime.errors import EdgeError
from edge_runtime.images import read_grey
from export.evaluation.judging import Answer
from export.evaluation.subjects import Progress, Subject, Subjects
from export.inputs.run_reader import open_network

BINS = 10  # with the same number of the run's images each
NOTICEABLE = 0.1  # index
_CHANCE = 0.001  # that a warning comes although nothing differs
_MOST = 500  # images of either side whose pixels are looked at
_HALF = 0.5  # of an image in a bin that has none: its logarithm has to exist
_BLACK = 16  # grey
_LEAST = 30  # values of either side; fewer tell nothing

log = logging.getLogger(__name__)

STATISTICS: dict[str, Callable[[NDArray[np.uint8]], float]] = {
    "mean grey": lambda grey_u8: float(grey_u8.mean()),
    "spread of grey": lambda grey_u8: float(grey_u8.std()),
    "share of black": lambda grey_u8: float((grey_u8 < _BLACK).mean()),
    "sharpness": lambda grey_u8: float(np.abs(np.diff(grey_u8.astype(np.int16), axis=1)).mean()),
    "pixels": lambda grey_u8: float(grey_u8.size),
    "width to height": lambda grey_u8: grey_u8.shape[1] / grey_u8.shape[0],
}


@dataclass(frozen=True)
class DriftRow:
    """One quantity of these images beside the run's."""

    quantity: str  # what is compared
    beside: str  # which images of the run
    n: int  # values here
    n_reference: int  # values of the run
    median: float  # here
    median_reference: float  # of the run
    index: float | None  # population stability; None: too few values
    limit: float | None  # beyond which it is told
    parted: bool  # whether it is

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)


def drift_from_run(
    run: Path, data: Path | None, subjects: Subjects, given: Sequence[Answer], judged_by: str, progress: Progress
) -> list[DriftRow]:
    """A row for the probability and one for each statistic, as far as the run has them.

    Args:
        run: folder that edge-train wrote.
        data: folder of its radiographs, where they have moved.
        subjects: images that were judged.
        given: answers to them, in their order.
        judged_by: file that decides.
        progress: called with (stage, done, total).

    Raises:
        ModelError: it is no run.
    """
    network, rows = open_network(run, None, data), []
    reference = _probabilities_of(run)
    if reference.size:
        one_each = {image.group: answer for image, answer in zip(subjects.images, given, strict=True)}
        here = [answer.probabilities[judged_by] for answer in one_each.values() if answer.probabilities]
        rows.append(_compared("probability", "test split", np.array(here), reference))
    root = network.data_root
    if root is None or not root.is_dir():
        log.warning(
            "%s: its training images are not there (--data DIR says where): their statistics are not compared", run
        )
        return rows
    theirs = _statistics(root, _one_each(network.train), "the run's images", progress)
    ours = _statistics(subjects.root, _one_each(subjects.images), "their statistics", progress)
    rows += [_compared(name, "training images", ours[name], theirs[name]) for name in STATISTICS]
    return rows


def stability_index(here: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """(index, limit) of values (n,) beside reference values (m,); bins are tenths of the reference.

    Args:
        here: at least one.
        reference: likewise.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1)
        for values in (here, reference)
    ]
    kept = (counts[0] + counts[1]) > 0
    shares = [np.maximum(count[kept], _HALF) / count.sum() for count in counts]
    index = float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
    by_chance = float(chi2.ppf(1 - _CHANCE, max(1, int(kept.sum()) - 1))) * (1 / here.size + 1 / reference.size)
    return index, max(NOTICEABLE, by_chance)


def _compared(name: str, beside: str, here: NDArray[np.float64], reference: NDArray[np.float64]) -> DriftRow:
    median, usual = (float(np.median(values)) if values.size else 0.0 for values in (here, reference))
    if min(here.size, reference.size) < _LEAST:
        return DriftRow(name, beside, here.size, reference.size, median, usual, None, None, False)
    index, limit = stability_index(here, reference)
    return DriftRow(name, beside, here.size, reference.size, median, usual, index, limit, index > limit)


def _probabilities_of(run: Path) -> NDArray[np.float64]:
    """One of each radiograph of the test split; none where the run is of a time when they were not written."""
    table = run / "predictions.csv"
    if not table.is_file():
        return np.array([])
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return np.array(list({row["group"]: float(row["probability"]) for row in csv.DictReader(stream)}.values()))


def _one_each(images: Sequence[Any]) -> list[Any]:
    """At most so many images, one a radiograph, chosen by content."""
    first: dict[int, Any] = {}
    for image in sorted(images, key=lambda image: (image.sha256, image.path)):
        first.setdefault(image.group, image)
    return list(first.values())[:_MOST]


def _statistics(
    root: Path, images: Sequence[Subject], stage: str, progress: Progress
) -> dict[str, NDArray[np.float64]]:
    """(k,) of each statistic, of the images that can be read."""
    found: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for done, image in enumerate(images, 1):
        try:
            grey_u8 = read_grey(root / image.path)
        except EdgeError:
            continue  # told where images are judged
        for name, measure in STATISTICS.items():
            found[name].append(measure(grey_u8))
        progress(f"looking at {stage}", done, len(images))
    return {name: np.array(values) for name, values in found.items()}
