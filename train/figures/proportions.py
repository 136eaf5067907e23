"""Shares of radiographs, as sensitivity among the fractured, where patients have several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.metrics import UNDEFINED, Estimate, score_interval


def share(hits: NDArray[np.bool_], patients: NDArray[np.integer] | None = None) -> Estimate:
    """The share of hits with its 95 % score interval (Wilson 1927, doi 10.1080/01621459.1927.10502953).

    With several radiographs a patient it rests on the effective number of radiographs: as many independent ones as tell
    the same (Rao and Scott 1992, doi 10.2307/2532311).

    Args:
        hits: (n,), of the radiographs that count.
        patients: (n,), whose radiograph each is; None: each another one's.
    """
    if not hits.size:
        return UNDEFINED
    proportion = float(hits.mean())
    return score_interval(proportion, hits.size if patients is None else _effective_number(hits, proportion, patients))


def _effective_number(hits: NDArray[np.bool_], proportion: float, patients: NDArray[np.integer]) -> float:
    _, patient_of, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    if sizes.size == hits.size:
        return float(hits.size)
    if sizes.size == 1 or proportion in (0.0, 1.0):
        return float(sizes.size)  # nothing is seen of how alike one patient's radiographs are: as if they were one
    deviations = np.bincount(patient_of, hits) - proportion * sizes
    variance = sizes.size / (sizes.size - 1) * float(np.square(deviations).sum()) / hits.size**2
    return min(float(hits.size), proportion * (1 - proportion) / variance) if variance > 0 else float(hits.size)
