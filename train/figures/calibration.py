"""Whether a probability means what it says, and whether acting on it does more good than treating all or nobody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10  # of equal width


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose probability lies in one bin."""

    count: int  # of images
    mean_probability: float  # 0 to 1
    fraction_positive: float  # 0 to 1


def reliability(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> list[ReliabilityBin]:
    """The bins that hold an image, of labels (n,) and probabilities (n,) 0 to 1."""
    bin_of = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(int(inside.sum()), float(probabilities[inside].mean()), float(labels[inside].mean()))
        for inside in (bin_of == number for number in range(BINS))
        if inside.any()
    ]


def expected_calibration_error(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Mean distance of probability and frequency over bins, by count (Naeini 2015)."""
    gaps = [one.count * abs(one.mean_probability - one.fraction_positive) for one in reliability(labels, probabilities)]
    return float(sum(gaps) / labels.size)


def net_benefit(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], thresholds: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(t,) of a decision curve (Vickers 2006, doi 10.1177/0272989X06295361), at thresholds (t,) between 0 and 1."""
    decided = probabilities[None] >= thresholds[:, None]
    true, false = (decided & (labels == 1)).sum(axis=1), (decided & (labels == 0)).sum(axis=1)
    return (true - false * thresholds / (1 - thresholds)) / labels.size
