"""Intervals by bootstrap over whole groups, fast: a draw is a weight of each file, and all draws are one product."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from train.metrics import UNDEFINED, Estimate, auc

RESAMPLES = 2000
_AT_ONCE = 2_000_000  # weights held at a time


def bootstrap_auc(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    groups: NDArray[np.integer],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """AUC with its 95 % percentile interval over whole groups; a draw with one class only does not count.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,).
        groups: (n,), the same for files that show one radiograph.
        seed: of the draws.
        resamples: number of draws.
    """
    value = auc(labels, probabilities)
    if value is None:
        return UNDEFINED
    order = np.argsort(probabilities, kind="stable")
    _, starts = np.unique(probabilities[order], return_index=True)
    positive = labels[order] == 1
    draws = []
    for weights in _weights(groups, seed, resamples):
        ordered = weights[:, order]
        true = np.add.reduceat(ordered * positive, starts, axis=1)
        false = np.add.reduceat(ordered * ~positive, starts, axis=1)
        below = np.cumsum(false, axis=1) - false / 2  # ties count half
        pairs = true.sum(axis=1) * false.sum(axis=1)
        draws.append((true * below).sum(axis=1)[pairs > 0] / pairs[pairs > 0])
    low, high = np.percentile(np.concatenate(draws), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def bootstrap_ratio(
    hits: NDArray[np.bool_], among: NDArray[np.bool_], groups: NDArray[np.integer], seed: int = 0
) -> Estimate:
    """The share of hits among some files, as sensitivity among the fractured, with its interval over whole groups.

    Args:
        hits: (n,).
        among: (n,), the files that count.
        groups: (n,), as above.
        seed: of the draws.
    """
    if not among.any():
        return UNDEFINED
    draws = []
    for weights in _weights(groups, seed, RESAMPLES):
        total = weights @ among.astype(float)
        draws.append((weights @ (hits & among).astype(float))[total > 0] / total[total > 0])
    low, high = np.percentile(np.concatenate(draws), [2.5, 97.5])
    return Estimate(float(hits[among].mean()), float(low), float(high))


def _weights(groups: NDArray[np.integer], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """(d, n) at a time: how often each file stands in each draw."""
    _, group_of = np.unique(groups, return_inverse=True)
    count = int(group_of.max()) + 1
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // group_of.size)
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        times = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        yield times[:, group_of].astype(float)
