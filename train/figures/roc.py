"""Areas under ROC curves by DeLong: their intervals, and whether two networks differ on the same radiographs.

Where patients have several radiographs, these are no independent evidence: deviations are added up within each patient
(Obuchowski 1997, doi 10.2307/2533958). With one radiograph a patient that is DeLong's method again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from train.metrics import UNDEFINED, Z_95, Estimate


@dataclass(frozen=True)
class PairedAreas:
    """Two areas on the same radiographs."""

    difference: Estimate  # first minus second
    z: float | None  # None where the difference has no variance
    p: float  # two-sided

    def is_not_inferior(self, margin: float) -> bool:
        """Whether the first area is worse by less than a margin, one-sided at 2.5 %: the whole interval lies above."""
        return self.difference.low is not None and self.difference.low > -margin


def delong(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], patients: NDArray[np.integer] | None = None
) -> Estimate:
    """AUC with its 95 % interval (DeLong 1988, doi 10.2307/2531595).

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,).
        patients: (n,), whose radiograph each is; None: each another one's.
    """
    placed = _placements(labels, probabilities[None], patients)
    if placed is None:
        return UNDEFINED
    area, half = float(placed[0][0]), Z_95 * float(np.sqrt(placed[1][0, 0]))
    return Estimate(area, max(0.0, area - half), min(1.0, area + half))


def compare_areas(
    labels: NDArray[np.integer],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    patients: NDArray[np.integer] | None = None,
) -> PairedAreas | None:
    """The paired DeLong test of two networks' probabilities (n,), patients as above; None with too few of a class."""
    placed = _placements(labels, np.stack([first, second]), patients)
    if placed is None:
        return None
    areas, covariance = placed
    change = float(areas[0] - areas[1])
    error = float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    interval = Estimate(change, change - Z_95 * error, change + Z_95 * error)
    if error == 0.0:
        # Alike, or one of them right or silent about every radiograph, where no variance is left.
        return PairedAreas(interval, None, 1.0 if change == 0.0 else 0.0)
    return PairedAreas(interval, change / error, float(2 * norm.sf(abs(change / error))))


def _placements(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], patients: NDArray[np.integer] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(areas (k,), covariance (k, k)) of probabilities (k, n), by mid-ranks (Sun and Xu 2014)."""
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        return None
    whole = rankdata(probabilities, axis=1)
    of_positive = (whole[:, positive] - rankdata(probabilities[:, positive], axis=1)) / n
    of_negative = 1.0 - (whole[:, ~positive] - rankdata(probabilities[:, ~positive], axis=1)) / m
    areas = of_positive.mean(axis=1)
    if patients is None:
        return areas, np.atleast_2d(np.cov(of_positive)) / m + np.atleast_2d(np.cov(of_negative)) / n
    _, patient_of = np.unique(patients, return_inverse=True)
    fractured, others = (
        _sums((placed - areas[:, None]) / size, patient_of[rows], int(patient_of.max()) + 1)
        for placed, size, rows in ((of_positive, m, positive), (of_negative, n, ~positive))
    )
    counts = [np.unique(patient_of[rows]).size for rows in (positive, ~positive)]
    if min(counts) < 2:
        return None  # all of a class from one patient: nothing is known of how patients differ
    both = fractured @ others.T * (patient_of.max() + 1) / patient_of.max()
    parts = (
        of_class @ of_class.T * count / (count - 1) for of_class, count in zip((fractured, others), counts, strict=True)
    )
    return areas, sum(parts, both + both.T)


def _sums(deviations: NDArray[np.float64], patient_of: NDArray[np.int64], patients: int) -> NDArray[np.float64]:
    """(k, patients) of (k, r) deviations of r radiographs: the sum within each patient."""
    return np.stack([np.bincount(patient_of, row, patients) for row in deviations])
