"""Whether decisions of two networks differ, and how many looks a finding has survived."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from train.metrics import Z_95, Estimate


def mcnemar(labels: NDArray[np.integer], first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int, float]:
    """(right in the first alone, right in the second alone, exact two-sided p) of decisions (n,): McNemar 1947."""
    right_first, right_second = first == (labels == 1), second == (labels == 1)
    lost, won = int((right_first & ~right_second).sum()), int((~right_first & right_second).sum())
    return lost, won, 1.0 if lost + won == 0 else float(binomtest(lost, lost + won).pvalue)


def heterogeneity(estimates: Sequence[Estimate]) -> float | None:
    """The p value of Cochran's Q that subgroups share one figure; None without two that have an interval of some width.

    Args:
        estimates: of disjoint subgroups, with symmetric 95 % intervals, as DeLong's where nothing was cut off.
    """
    known = [
        (e.value, max(e.high - e.value, e.value - e.low) / Z_95)  # the end that was not cut off
        for e in estimates
        if e.value is not None and e.low is not None and e.high is not None
    ]
    values, errors = np.array([value for value, _ in known]), np.array([error for _, error in known])
    if len(known) < 2 or not (errors > 0).all():
        return None
    weights = errors**-2.0
    pooled = (weights * values).sum() / weights.sum()
    return float(chi2.sf((weights * (values - pooled) ** 2).sum(), len(known) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for the number of looks (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = corrected
    return result.tolist()
