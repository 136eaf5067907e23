"""The fast bootstrap against the plain one, and the time that it may take."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import binom

from train.figures.resampling import bootstrap_auc, bootstrap_ratio
from train.metrics import UNDEFINED, auc, auc_with_interval

CHANCE = 0.01  # ends of intervals from 1,000 and 2,000 draws: several standard errors of a 2.5 % quantile here
LIMIT_S = 10.0  # 2,000 resamples of 1,000 files


def _drawn(count: int, per_group: int):
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(count // per_group), per_group)
    labels = (groups % 3 == 0).astype(int)
    probabilities = np.round(1 / (1 + np.exp(-rng.normal(labels, 1.0))), 2)  # with ties
    return labels, probabilities, groups


@pytest.mark.parametrize("per_group", [1, 4])
def test_intervals_are_those_of_drawing_rows(per_group):
    labels, probabilities, groups = _drawn(400, per_group)
    ours, plain = bootstrap_auc(labels, probabilities, groups), auc_with_interval(labels, probabilities, groups)
    assert ours.value == plain.value == auc(labels, probabilities)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=CHANCE)


def test_copies_make_no_interval_narrower():
    labels, probabilities, groups = _drawn(300, 1)
    once = bootstrap_auc(labels, probabilities, groups)
    copies = bootstrap_auc(np.repeat(labels, 5), np.repeat(probabilities, 5), np.repeat(groups, 5))
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))


def test_a_share_has_the_interval_of_the_binomial():
    hits, everyone = np.arange(200) < 150, np.ones(200, bool)
    found = bootstrap_ratio(hits, everyone, np.arange(200))
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx(binom.ppf([0.025, 0.975], 200, 0.75) / 200, abs=CHANCE)


def test_nothing_to_count_is_undefined():
    none = np.zeros(4, bool)
    assert bootstrap_ratio(none, none, np.arange(4)) == UNDEFINED
    assert bootstrap_auc(none.astype(int), np.linspace(0, 1, 4), np.arange(4)) == UNDEFINED


def test_two_thousand_resamples_are_quick():
    labels, probabilities, groups = _drawn(1000, 1)
    start = time.perf_counter()
    bootstrap_auc(labels, probabilities, groups)
    assert time.perf_counter() - start < LIMIT_S
