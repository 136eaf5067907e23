"""Figures with confidence intervals: what a network is worth, and how sure one can be of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval; all None where it cannot be computed."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None or self.low is None or self.high is None:
            return "not defined"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


UNDEFINED = Estimate(None, None, None)


@dataclass(frozen=True)
class Figures:
    """How well probabilities tell two classes apart."""

    count: int  # of files or radiographs
    positives: int  # of them fractured
    threshold: float  # a probability at or above it is positive
    auc: Estimate  # area under the ROC curve; interval by bootstrap over groups
    accuracy: Estimate  # Wilson interval, as the next two
    sensitivity: Estimate  # of the fractured, the fraction found
    specificity: Estimate  # of the others, the fraction left alone
    confusion: tuple[tuple[int, int], tuple[int, int]]  # rows true, columns decided: negative, positive

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)


def wilson(successes: int, trials: int) -> Estimate:
    """A proportion with its 95 % score interval (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    return score_interval(successes / trials, trials) if trials else UNDEFINED


def score_interval(proportion: float, trials: float) -> Estimate:
    """A proportion of so many trials with Wilson's interval; of dependent ones their effective number, no whole one."""
    z2 = Z_95**2
    centre = (proportion + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(proportion * (1 - proportion) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Estimate(proportion, max(0.0, centre - half), min(1.0, centre + half))


def auc(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve; None with one class only."""
    if np.unique(labels).size < 2:
        return None
    return float(roc_auc_score(labels, probabilities))


def auc_with_interval(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], groups: NDArray[np.integer], seed: int = 0
) -> Estimate:
    """AUC with a 95 % percentile bootstrap interval over whole groups.

    Copies of one radiograph are no independent evidence: drawing files would make the interval too narrow.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,) 0 to 1.
        groups: (n,) group of each.
        seed: of the draws.
    """
    value = auc(labels, probabilities)
    if value is None:
        return UNDEFINED
    _, group_of = np.unique(groups, return_inverse=True)
    groups_in_all = int(group_of.max()) + 1
    _, level = np.unique(probabilities, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAP_DRAWS):
        times = np.bincount(rng.integers(0, groups_in_all, groups_in_all), minlength=groups_in_all)[group_of]
        draws.append(_area(level, times * (labels == 1), times * (labels != 1)))
    low, high = np.percentile([draw for draw in draws if draw is not None], [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _area(level: NDArray[np.int64], positives: NDArray[np.integer], negatives: NDArray[np.integer]) -> float | None:
    """Share of pairs of a positive and a negative file that are in order, ties half: the AUC; None with one class only.

    scikit-learn's takes milliseconds whatever it is given, and of these a thousand are needed.

    Args:
        level: (n,), 0 and up: the rank of a file's probability, equal ones share it.
        positives: (n,), how many positive files each stands for.
        negatives: (n,), likewise.
    """
    above, below = (np.bincount(level, weights=counts) for counts in (positives, negatives))
    pairs = above.sum() * below.sum()
    return float(above @ (np.cumsum(below) - below / 2) / pairs) if pairs else None


def measure(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    threshold: float,
    groups: NDArray[np.integer] | None = None,
) -> Figures:
    """Figures of (n,) labels and probabilities; groups (n,) where several are of one radiograph or patient."""
    positive = labels == 1
    decided = probabilities >= threshold
    found, false_alarms = int(np.sum(decided & positive)), int(np.sum(decided & ~positive))
    positives, negatives = int(np.sum(positive)), int(np.sum(~positive))
    return Figures(
        count=labels.size,
        positives=positives,
        threshold=threshold,
        auc=auc_with_interval(labels, probabilities, np.arange(labels.size) if groups is None else groups),
        accuracy=wilson(found + negatives - false_alarms, labels.size),
        sensitivity=wilson(found, positives),
        specificity=wilson(negatives - false_alarms, negatives),
        confusion=((negatives - false_alarms, false_alarms), (positives - found, found)),
    )


def per_group(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], groups: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(labels, probabilities) of each group: the mean probability of its files, the label of most of them."""
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    mean_label = np.bincount(group_of, weights=labels) / sizes
    return (mean_label >= 0.5).astype(np.int64), np.bincount(group_of, weights=probabilities) / sizes


def first_of_each(groups: NDArray[np.integer], values: NDArray[np.integer]) -> NDArray[np.int64]:
    """One of the values (n,) for each group, in the order of `per_group`; those of a group are all the same."""
    return np.asarray(values[np.unique(groups, return_index=True)[1]], np.int64)
