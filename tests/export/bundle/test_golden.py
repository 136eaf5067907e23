"""Golden images lie around the threshold, and are the same every time."""

from __future__ import annotations

import numpy as np

from export.bundle.golden import IMAGES, spread_around


def test_chosen_probabilities_reach_from_end_to_end_and_meet_the_threshold():
    probabilities = np.random.default_rng(2).uniform(0.02, 0.98, 200).astype(np.float32)
    chosen = probabilities[spread_around(0.3, probabilities)]
    assert len(set(chosen)) == IMAGES
    assert chosen.min() == probabilities.min() and chosen.max() == probabilities.max()
    assert (np.abs(chosen - 0.3) < 0.02).sum() >= 2


def test_equal_probabilities_are_chosen_by_their_index():
    assert spread_around(0.5, np.full(20, 0.1, np.float32)) == list(range(IMAGES))
