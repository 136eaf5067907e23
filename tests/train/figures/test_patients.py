"""Radiographs of one patient are no independent evidence: intervals against the bootstrap over patients."""

from __future__ import annotations

import numpy as np
import pytest

from train.figures.proportions import share
from train.figures.roc import compare_areas, delong
from train.metrics import UNDEFINED, auc_with_interval, wilson

CLOSE = 0.012  # ends of an interval from 1,000 draws: some standard errors of a 2.5 % quantile here


def drawn(patients: int, each: int, alike: float = 1.0):
    """(labels, probabilities, patients) of so many radiographs each; a patient's are alike by a share of the spread."""
    rng = np.random.default_rng(3)
    of_patient = np.repeat(np.arange(patients), each)
    labels = (of_patient % 3 == 0).astype(int)
    spread = alike * rng.normal(size=patients)[of_patient] + rng.normal(size=of_patient.size)
    return labels, np.round(1 / (1 + np.exp(-labels - spread)), 3), of_patient


def test_one_radiograph_a_patient_changes_nothing():
    labels, probabilities, patients = drawn(300, 1)
    plain, clustered = delong(labels, probabilities), delong(labels, probabilities, patients)
    # The covariance between the classes, which is zero but for the draw of the labels, is in the second alone.
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=1e-3)
    hits = probabilities > 0.5
    assert share(hits, patients) == share(hits) == wilson(int(hits.sum()), hits.size)


def test_copies_make_no_interval_narrower():
    labels, probabilities, patients = drawn(300, 1)
    repeated = [np.repeat(values, 5) for values in (labels, probabilities, patients)]
    once, copies = delong(labels, probabilities, patients), delong(*repeated)
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))
    hits = probabilities > 0.5
    once, copies = share(hits), share(np.repeat(hits, 5), repeated[2])
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=1e-3)


@pytest.mark.parametrize("each", [3, 8])
def test_areas_have_the_interval_of_drawing_patients(each):
    labels, probabilities, patients = drawn(200, each)
    ours, resampled = delong(labels, probabilities, patients), auc_with_interval(labels, probabilities, patients)
    assert (ours.low, ours.high) == pytest.approx((resampled.low, resampled.high), abs=CLOSE)
    plain = delong(labels, probabilities)
    assert ours.high - ours.low > 1.2 * (plain.high - plain.low)


def test_patients_with_both_classes_count_in_both():
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(150), 4)
    labels = np.tile([0, 1, 0, 1], 150)  # two sides of each, one broken
    probabilities = 1 / (1 + np.exp(-labels - 2 * rng.normal(size=150)[patients] - rng.normal(size=600)))
    ours, resampled = delong(labels, probabilities, patients), auc_with_interval(labels, probabilities, patients)
    assert (ours.low, ours.high) == pytest.approx((resampled.low, resampled.high), abs=CLOSE)
    # What is alike in both classes cancels out: narrower than of so many radiographs of different patients.
    plain = delong(labels, probabilities)
    assert ours.high - ours.low < plain.high - plain.low


def test_a_share_has_the_interval_of_drawing_patients():
    rng = np.random.default_rng(11)
    patients = np.repeat(np.arange(120), 5)
    hits = rng.random(600) < rng.beta(2, 1, 120)[patients]  # of each patient another share
    draws = [hits.reshape(120, 5)[rng.integers(0, 120, 120)].mean() for _ in range(4000)]
    ours = share(hits, patients)
    assert (ours.low, ours.high) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=CLOSE)


def test_a_share_without_exceptions_counts_patients():
    assert share(np.ones(50, bool), np.repeat(np.arange(10), 5)) == wilson(10, 10)
    assert share(np.zeros(0, bool), np.zeros(0, int)) == UNDEFINED


def test_one_patient_tells_nothing_of_others():
    labels, probabilities, patients = np.repeat([1, 0], 20), np.linspace(0.9, 0.1, 40), np.r_[np.zeros(20), 1:21]
    assert delong(labels, probabilities, patients.astype(int)) == UNDEFINED
    assert compare_areas(labels, probabilities, probabilities**2, patients.astype(int)) is None


def test_a_difference_between_networks_is_clustered_too():
    labels, first, patients = drawn(200, 6)
    _, noise, _ = drawn(200, 6, alike=0.5)
    second = 0.7 * first + 0.3 * np.roll(noise, 6)
    clustered, plain = compare_areas(labels, first, second, patients), compare_areas(labels, first, second)
    assert clustered.difference.value == plain.difference.value
    assert clustered.difference.high - clustered.difference.low > plain.difference.high - plain.difference.low
