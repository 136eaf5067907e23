"""Figures and their intervals, against values that can be worked out."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from train import metrics
from train.metrics import auc, auc_with_interval, measure, per_group, wilson


def test_wilson_interval_of_the_published_example():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263.
    estimate = wilson(81, 263)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2553, 0.3662)


def test_wilson_interval_of_no_success_does_not_leave_zero_to_one():
    estimate = wilson(0, 149)
    assert estimate.low == 0.0 and 0.0 < estimate.high < 0.03


def test_nothing_to_count_is_not_defined():
    assert str(wilson(0, 0)) == "not defined"


def test_auc_counts_ties_as_half():
    assert auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.5, 0.5])) == 0.875


def test_auc_of_one_class_is_not_defined():
    assert auc(np.array([1, 1]), np.array([0.1, 0.9])) is None


def test_copies_of_radiographs_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    probabilities = np.clip(0.3 * labels + rng.random(60) * 0.7, 0, 1)
    single = auc_with_interval(labels, probabilities, np.arange(60))
    copied = auc_with_interval(np.repeat(labels, 20), np.repeat(probabilities, 20), np.repeat(np.arange(60), 20))
    assert copied.value == pytest.approx(single.value)
    assert copied.high - copied.low == pytest.approx(single.high - single.low, rel=0.15)


def test_drawn_areas_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(metrics, "BOOTSTRAP_DRAWS", 1)
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 40, 200)
    labels, probabilities = rng.integers(0, 2, 200), rng.integers(0, 30, 200) / 30  # with ties
    times = np.bincount(np.random.default_rng(5).integers(0, 40, 40), minlength=40)[groups]
    expected = roc_auc_score(labels, probabilities, sample_weight=times)
    assert auc_with_interval(labels, probabilities, groups, seed=5).low == pytest.approx(expected, abs=1e-12)


def test_confusion_rows_are_true_and_columns_decided():
    figures = measure(np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 0.8, 0.5]), threshold=0.5)
    assert figures.confusion == ((2, 1), (0, 2))
    assert figures.sensitivity.value == 1.0
    assert figures.specificity.value == pytest.approx(2 / 3)


def test_a_group_is_judged_by_its_mean():
    labels, probabilities = per_group(np.array([1, 1, 0]), np.array([0.2, 0.6, 0.9]), np.array([7, 7, 3]))
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_allclose(probabilities, [0.9, 0.4])
