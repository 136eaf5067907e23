"""Figures against R (golden/make.R), scikit-learn, and arithmetic by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from train.figures.calibration import expected_calibration_error, net_benefit, reliability
from train.figures.differences import heterogeneity, holm, mcnemar
from train.figures.roc import compare_areas, delong
from train.metrics import UNDEFINED, Estimate, wilson

GOLDEN = Path(__file__).parent / "golden"
R_DIGITS = 1e-6  # our quantile of the normal distribution has seven digits
COLUMNS = np.genfromtxt(GOLDEN / "scores.csv", delimiter=",", names=True)
LABELS, FIRST, SECOND = COLUMNS["label"].astype(int), COLUMNS["first"], COLUMNS["second"]


@pytest.fixture(scope="module")
def r():
    with (GOLDEN / "r.csv").open() as stream:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(stream)}


def test_delong_is_that_of_proc_and_scikit_learn(r):
    ours = delong(LABELS, FIRST)
    assert (ours.value, ours.low, ours.high) == pytest.approx((r["auc"], r["low"], r["high"]), abs=R_DIGITS)
    assert ours.value == pytest.approx(roc_auc_score(LABELS, FIRST), abs=1e-12)


def test_paired_delong_is_that_of_proc(r):
    pair = compare_areas(LABELS, FIRST, SECOND)
    assert (pair.z, pair.p) == pytest.approx((r["pair_z"], r["pair_p"]), abs=R_DIGITS)


def test_one_network_is_not_inferior_to_itself():
    pair = compare_areas(LABELS, FIRST, FIRST)
    assert pair.z is None and pair.p == 1.0 and pair.is_not_inferior(0.01)


def test_noise_is_inferior_to_a_network():
    noise = np.random.default_rng(0).random(LABELS.size)
    assert not compare_areas(LABELS, noise, FIRST).is_not_inferior(0.05)


def test_one_class_has_no_area():
    assert delong(np.ones(5, int), FIRST[:5]) == UNDEFINED
    assert compare_areas(np.ones(5, int), FIRST[:5], SECOND[:5]) is None


def test_a_network_that_is_always_right_is_not_like_one_that_says_nothing():
    labels = np.repeat([0, 1], 10)
    pair = compare_areas(labels, labels.astype(float), np.full(20, 0.5))
    assert (pair.difference.value, pair.z, pair.p) == (0.5, None, 0.0)


def test_mcnemar_is_exact_as_in_r(r):
    lost, won, p = mcnemar(LABELS, FIRST >= 0.5, SECOND >= 0.5)
    assert (lost, won) == (r["lost"], r["won"])
    assert p == pytest.approx(r["mcnemar_p"], abs=R_DIGITS)


def test_holm_and_wilson_are_those_of_r(r):
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([r["holm1"], r["holm2"], r["holm3"]])
    share = wilson(30, 40)
    assert (share.low, share.high) == pytest.approx((r["wilson_low"], r["wilson_high"]), abs=R_DIGITS)


def test_subgroups_that_differ_are_told_from_those_that_do_not():
    same, other = Estimate(0.8, 0.75, 0.85), Estimate(0.6, 0.55, 0.65)
    assert heterogeneity([same, same]) == pytest.approx(1.0)
    assert heterogeneity([same, other]) < 0.001
    assert heterogeneity([same, UNDEFINED]) is None


def test_calibration_by_hand():
    labels, probabilities = np.array([0, 1, 1, 1]), np.array([0.15, 0.15, 0.95, 1.0])
    assert [one.count for one in reliability(labels, probabilities)] == [2, 2]
    assert expected_calibration_error(labels, probabilities) == pytest.approx((2 * 0.35 + 2 * 0.025) / 4)
    assert net_benefit(labels, probabilities, np.array([0.1, 0.5])) == pytest.approx([(3 - 1 / 9) / 4, 0.5])
