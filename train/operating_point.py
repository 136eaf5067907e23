"""The threshold of a network, chosen on validation radiographs alone, and what it is worth there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm

from edge_runtime import spec
from train.metrics import Estimate, wilson

YOUDEN, SENSITIVITY, SPECIFICITY = "youden", "sensitivity", "specificity"

# What a network offers beside the threshold that was asked for: a screening that misses little, and one that is sure.
_OFFERED: tuple[dict[str, float], ...] = ({}, {SENSITIVITY: 0.90}, {SPECIFICITY: 0.90})

_BANDWIDTH = 0.9  # of Silverman's rule, times spread and count ** -0.2
_GRID = 1001  # places where smoothed shares are calculated: memory stays linear in the radiographs
_SAME = 1e-6  # bandwidth, of a logit: classes whose answers are all alike are not smoothed

_LEAST, _MOST = 0.001, 0.999  # int8 probabilities end at 0.996: beyond, one decision would never come


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and how it was chosen."""

    rule: str  # `youden`, or `sensitivity` or `specificity` where a value of it was asked for
    wanted: float | None  # the value asked for
    threshold: float  # a probability at or above it is positive
    sensitivity: Estimate  # on the validation radiographs, Wilson interval, as the next
    specificity: Estimate

    @property
    def name(self) -> str:
        """By which users choose it: `balanced`, `sensitivity-0.90`."""
        return "balanced" if self.wanted is None else f"{self.rule}-{self.wanted:.2f}"

    def in_spec(self) -> spec.OperatingPoint:
        """As it travels with the network."""
        return spec.OperatingPoint(self.name, self.threshold, _triple(self.sensitivity), _triple(self.specificity))


def offered_points(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    asked: OperatingPoint,
) -> list[OperatingPoint]:
    """The operating point that was asked for, and those that every network offers, each name once.

    Args:
        labels: as of `choose_operating_point`.
        probabilities: likewise.
        asked: comes first.
    """
    points = [asked, *(choose_operating_point(labels, probabilities, **wish) for wish in _OFFERED)]
    return list({point.name: point for point in reversed(points)}.values())[::-1]


def points_in_spec(points: Sequence[OperatingPoint]) -> tuple[spec.OperatingPoint, ...]:
    """As they travel with the network: those whose figures are defined."""
    return tuple(point.in_spec() for point in points if None not in (point.sensitivity.value, point.specificity.value))


def choose_operating_point(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> OperatingPoint:
    """The threshold in the middle between two neighbouring probabilities that serves a rule best.

    Without a wish it is Youden's (1950, doi 10.1002/1097-0142(1950)3:1): the largest sum of sensitivity and
    specificity, as they are once chance is smoothed away (Fluss et al. 2005, doi 10.1002/bimj.200410135): of the many
    thresholds that few dozen fractures leave nearly as good as the best, the one that happens to be best is worth less
    on others. With a sensitivity, the largest specificity that keeps it, and the other way round.

    Args:
        labels: (n,) 0 or 1, both among them; of validation radiographs.
        probabilities: (n,) of the calibrated network.
        sensitivity: least one wished.
        specificity: least one wished; of both one at most.
    """
    thresholds = _between(probabilities)
    positives, negatives = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    # Whole numbers until the division: a wish of 0.2 is kept by one of five, and by 1 - 4 / 5 it is not.
    found = (positives - _count_below(thresholds, probabilities[labels == 1])) / positives
    left = _count_below(thresholds, probabilities[labels == 0]) / negatives
    if sensitivity is not None:
        best = int(np.argmax(np.where(found >= sensitivity, left, -1.0)))
    elif specificity is not None:
        best = int(np.argmax(np.where(left >= specificity, found, -1.0)))
    else:
        best = int(np.argmax(_smoothed_index(thresholds, labels, probabilities)))
    rule = SENSITIVITY if sensitivity is not None else SPECIFICITY if specificity is not None else YOUDEN
    return OperatingPoint(
        rule=rule,
        wanted=sensitivity if sensitivity is not None else specificity,
        threshold=float(thresholds[best]),
        sensitivity=wilson(round(found[best] * positives), positives),
        specificity=wilson(round(left[best] * negatives), negatives),
    )


def _smoothed_index(
    thresholds: NDArray[np.float64], labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Sensitivity plus specificity at thresholds, (k,), with a Gaussian in place of each logit."""
    logits, at = (logit(np.clip(values.astype(np.float64), _LEAST, _MOST)) for values in (probabilities, thresholds))
    grid = np.linspace(at[0], at[-1], _GRID)
    positive, negative = (
        norm.cdf((values[np.newaxis, :] - grid[:, np.newaxis]) / _bandwidth(values)).mean(axis=1)
        for values in (logits[labels == 1], logits[labels == 0])
    )
    return np.interp(at, grid, positive + 1.0 - negative)


def _count_below(thresholds: NDArray[np.float64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """How many probabilities lie below each threshold, (k,)."""
    return np.searchsorted(np.sort(probabilities), thresholds, side="left")


def _bandwidth(logits: NDArray[np.float64]) -> float:
    """Of a Gaussian for each of them, by the rule of Silverman (1986, Density Estimation, eq. 3.31)."""
    low, high = np.quantile(logits, [0.25, 0.75])
    spread = min(float(np.std(logits)), (high - low) / 1.34)
    return max(_BANDWIDTH * spread * logits.size**-0.2, _SAME)


def _between(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Every threshold that decides otherwise than its neighbours, in rising order, each as far from both as can be."""
    known = np.unique(probabilities.astype(np.float64))
    middles = (known[:-1] + known[1:]) / 2
    return np.clip(np.concatenate([[known[0] / 2], middles, [(known[-1] + 1.0) / 2]]), _LEAST, _MOST)


def _triple(estimate: Estimate) -> tuple[float, float, float]:
    value, low, high = (float(number or 0.0) for number in (estimate.value, estimate.low, estimate.high))
    return min(max(value, low), high), low, high  # where all succeed, rounding puts the value outside by 1e-16
