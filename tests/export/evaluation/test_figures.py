"""Figures are those that scikit-learn and worked examples have, and their intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

from edge_runtime.spec import Coverage
from export.evaluation.figures import Radiographs, comparison, figures_of, interactions, subgroups_of


def radiographs(count: int = 400, seed: int = 0, shift: float = 1.2, threshold: float = 0.5) -> Radiographs:
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.4).astype(np.int64)
    logits = rng.normal(shift * (labels - 0.5) * 2, 1.0)
    return Radiographs(labels, (1 / (1 + np.exp(-logits))).round(2), threshold)  # rounded: with ties


def test_values_are_those_of_scikit_learn():
    some = radiographs()
    values = {figure.name: figure.estimate.value for figure in figures_of(some)}
    assert values["AUC"] == pytest.approx(roc_auc_score(some.labels, some.probabilities))
    assert values["average precision"] == pytest.approx(average_precision_score(some.labels, some.probabilities))
    assert values["Brier score"] == pytest.approx(brier_score_loss(some.labels, some.probabilities))
    assert values["F1"] == pytest.approx(f1_score(some.labels, some.decided))
    assert values["accuracy"] == pytest.approx((some.decided == some.labels).mean())


def test_every_interval_holds_its_value_and_all_that_is_told_has_a_source():
    for figure in figures_of(radiographs(), (0.05, 0.5)):
        assert figure.estimate.low <= figure.estimate.value <= figure.estimate.high, figure.name
        assert figure.n > 0 and figure.method and figure.source.startswith("doi ")


def test_predictive_values_follow_bayes():
    # Sensitivity 0.9 and specificity 0.8: at a prevalence of 0.1 one positive of three is one, 0.09 / 0.27.
    labels = np.repeat([1, 0], [100, 100])
    probabilities = np.r_[np.repeat([0.9, 0.1], [90, 10]), np.repeat([0.9, 0.1], [20, 80])]
    values = {
        figure.name: figure.estimate.value for figure in figures_of(Radiographs(labels, probabilities, 0.5), [0.1])
    }
    assert values["predictive value of fractured at a prevalence of 0.1"] == pytest.approx(1 / 3)
    assert values["predictive value of not fractured at a prevalence of 0.1"] == pytest.approx(0.72 / 0.73)
    assert values["predictive value of fractured, here"] == pytest.approx(90 / 110)
    assert values["positive likelihood ratio"] == pytest.approx(4.5)
    assert values["negative likelihood ratio"] == pytest.approx(0.125)


def test_weighted_average_precision_is_that_of_repeated_radiographs():
    from export.evaluation.figures import _average_precision

    some = radiographs(60)
    times = np.random.default_rng(1).integers(0, 4, (5, 60)).astype(float)
    for row, found in zip(times, _average_precision(times, some), strict=True):
        repeated = np.repeat(np.arange(60), row.astype(int))
        expected = average_precision_score(some.labels[repeated], some.probabilities[repeated])
        assert found == pytest.approx(expected)


def test_subgroups_are_counted_apart_and_small_ones_marked():
    some = radiographs(400)
    columns = {"region": ["hand"] * 200 + ["leg"] * 190 + ["hip"] * 10}
    rows = {row.value: row for row in subgroups_of(some, columns)}
    assert [rows[name].n for name in ("hand", "hip", "leg")] == [200, 10, 190]
    assert rows["hip"].too_small and not rows["leg"].too_small
    assert rows["hand"].auc.value == pytest.approx(roc_auc_score(some.labels[:200], some.probabilities[:200]))


def test_a_subgroup_that_is_worse_is_found_and_one_that_is_not_is_not():
    good, bad = radiographs(300, 1, 1.5), radiographs(300, 2, 0.2)
    joined = Radiographs(np.r_[good.labels, bad.labels], np.r_[good.probabilities, bad.probabilities], 0.5)
    columns = {"device": ["a"] * 300 + ["b"] * 300, "day": ["odd", "even"] * 300}
    looks = interactions(subgroups_of(joined, columns))
    assert looks["device"]["auc"] < 0.001 < 0.05 < looks["day"]["auc"]


def test_a_network_is_not_inferior_to_itself_and_not_shown_to_be_where_it_is_worse():
    good = radiographs(300, 1, 1.5)
    same = comparison(good, good, 0.02)
    assert same["not_inferior"] and same["decisions_that_differ"] == 0 and same["mcnemar_p"] == 1.0
    noise = np.random.default_rng(5).random(300)
    worse = Radiographs(good.labels, good.probabilities * 0.3 + noise * 0.7, 0.5)
    told = comparison(worse, good, 0.02)
    assert not told["not_inferior"] and told["auc_difference"]["value"] < -0.05


def test_coverage_and_abstentions_are_told_by_class():
    labels = np.repeat([1, 0], [10, 20])
    probabilities = np.r_[np.repeat([0.9, 0.5, 0.1], [7, 2, 1]), np.repeat([0.9, 0.5, 0.1], [1, 4, 15])]
    coverage = Coverage(0.95, 0.5, 0.4, (60, 60))
    figures = {one.name: one for one in figures_of(Radiographs(labels, probabilities, 0.45), (), coverage)}
    expected = {
        "coverage of fractured, 0.95 wished": (0.9, 10),
        "no decision for fractured, by coverage": (0.2, 10),
        "coverage of not fractured, 0.95 wished": (0.95, 20),
        "no decision for not fractured, by coverage": (0.2, 20),
    }
    found = {name: (figures[name].estimate.value, figures[name].n) for name in expected}
    assert found == {name: (pytest.approx(value), n) for name, (value, n) in expected.items()}
    assert not any("coverage" in one.name for one in figures_of(Radiographs(labels, probabilities, 0.45)))
