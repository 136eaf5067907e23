"""Which classes an answer has to leave open, so that the true one is among them as often as was wished, in each class.

Split-conformal prediction with a quantile for each class (Vovk 2012, arXiv:1209.2673; Sadinle, Lei and Wasserman 2019,
arXiv:1609.00451). Of the n radiographs of a class that were used for nothing else, the k-th in the order in which they
fit it, best first, sets the limit, with k = ceil((n + 1) * level): the class of a new radiograph is then left open with
a probability of at least k / (n + 1), which is at least the level. Over draws of the n radiographs, the share of all
new ones whose class is left open has a beta distribution with k and n + 1 - k, where no two probabilities are the same.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from edge_runtime.spec import LEAST_RADIOGRAPHS, Coverage

_SEED = 0  # of the draw of one file a radiograph


def rank(count: int, level: float) -> int:
    """Place of the radiograph that sets the limit, of so many in order, from 1; above the count: there is no limit.

    Exactly: 0.95 * 60 may come out above 57 in floats, and the next one would be taken.
    """
    return math.ceil((count + 1) * Fraction(repr(level)))


def fewest(level: float) -> int:
    """Radiographs of a class that a level needs at least."""
    return max(LEAST_RADIOGRAPHS, next(count for count in range(1, 1_000_000) if rank(count, level) <= count))


def require_enough(counts: tuple[int, int], level: float, labels: tuple[str, str]) -> None:
    """Refuses a level that so many radiographs cannot bear.

    Args:
        counts: radiographs of the negative and of the positive class.
        level: of coverage.
        labels: names of these classes.

    Raises:
        DataError: there are too few.
    """
    for count, label in zip(counts, labels, strict=True):
        if count < (needed := fewest(level)):
            raise DataError(
                f"--coverage {level:g}: {count} radiographs of {label!r} were set aside for it; {needed} are needed of "
                "each class: a larger --coverage-fraction, or more data"
            )


def coverage_of(labels: NDArray[np.integer], probabilities: NDArray[np.floating], level: float) -> Coverage:
    """The limits that a network's answers to radiographs give, which were used for nothing else.

    Args:
        labels: (n,) 0 or 1, one a radiograph, of enough in each class.
        probabilities: (n,) of the positive class.
        level: wished for each class, 0 to 1.
    """
    negative, positive = np.sort(probabilities[labels == 0]), np.sort(probabilities[labels == 1])[::-1]
    return Coverage(
        level=level,
        most_negative=float(negative[rank(negative.size, level) - 1]),
        least_positive=float(positive[rank(positive.size, level) - 1]),
        radiographs=(negative.size, positive.size),
    )


def one_of_each(patients: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Rows of one file of each patient and class, drawn at random: files of one patient are no independent evidence.

    Args:
        patients: (n,), whose each file is; of patients that nobody told, the radiograph.
        labels: (n,) 0 or 1.
    """
    order = np.random.default_rng(_SEED).permutation(labels.size)
    _, first = np.unique(np.stack([patients[order], labels[order]]), axis=1, return_index=True)
    return np.sort(order[first])


def left_open(coverage: Coverage, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n, 2): whether the negative and the positive class are left open, as `Coverage.classes` of each probability."""
    return np.stack([probabilities <= coverage.most_negative, probabilities >= coverage.least_positive], axis=1)


def is_in_doubt(coverage: Coverage, probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """(n,): which get no decision, as `ModelSpec.doubt` of each probability."""
    is_open, decided = left_open(coverage, probabilities), probabilities >= threshold
    return ~((is_open.sum(axis=1) == 1) & (is_open[:, 1] == decided))
