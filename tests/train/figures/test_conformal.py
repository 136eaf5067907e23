"""Limits of abstention keep exactly what they promise, in each class; of too few radiographs nothing is promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, kstest

from edge_runtime.errors import DataError
from edge_runtime.spec import Coverage, ModelSpec
from train.figures.conformal import (
    coverage_of,
    fewest,
    is_in_doubt,
    left_open,
    one_of_each,
    rank,
    require_enough,
)

LABELS = ("not fractured", "fractured")
DRAWS = 1000  # of sets of radiographs
SURE = 1e-3  # p value under which a distribution is not the expected one: chance fails one seed of a thousand
NEGATIVE, POSITIVE = beta(1, 4), beta(2, 2)  # of probabilities: the classes are not alike, as they never are


@pytest.mark.parametrize(
    ("count", "level", "place"),
    [(59, 0.95, 57), (60, 0.95, 58), (79, 0.95, 76), (99, 0.99, 99), (60, 0.99, 61), (99, 0.9, 90), (100, 0.9, 91)],
)
def test_the_place_of_the_limit_is_exact(count, level, place):
    assert rank(count, level) == place


def test_so_many_radiographs_are_needed():
    assert [fewest(level) for level in (0.5, 0.95, 0.98, 0.99, 0.995)] == [60, 60, 60, 99, 199]
    require_enough((60, 60), 0.95, LABELS)
    with pytest.raises(DataError, match="59 radiographs of 'fractured' were set aside for it; 60 are needed"):
        require_enough((500, 59), 0.95, LABELS)
    with pytest.raises(DataError, match="80 radiographs of 'not fractured'.*99 are needed"):
        require_enough((80, 99), 0.99, LABELS)


def drawn(rng: np.random.Generator, negatives: int, positives: int, steps: int | None = None) -> Coverage:
    probabilities = np.concatenate([rng.beta(1, 4, negatives), rng.beta(2, 2, positives)])
    if steps:
        probabilities = np.round(probabilities * steps) / steps
    return coverage_of(np.repeat([0, 1], [negatives, positives]), probabilities, 0.95)


def covered(coverages: list[Coverage], half: float = 0.0) -> np.ndarray:
    """(n, 2), shares of all new radiographs of each class whose class is left open; half a step of probabilities."""
    limits = np.array([(one.most_negative, one.least_positive) for one in coverages])
    return np.stack([NEGATIVE.cdf(limits[:, 0] + half), POSITIVE.sf(limits[:, 1] - half)], axis=1)


def test_coverage_has_the_distribution_that_theory_gives_it_in_each_class():
    rng, counts = np.random.default_rng(1), (60, 137)
    found = covered([drawn(rng, *counts) for _ in range(DRAWS)])
    for of_class, count in zip(found.T, counts, strict=True):
        place = rank(count, 0.95)
        exact = beta(place, count + 1 - place)
        assert kstest(of_class, exact.cdf).pvalue > SURE
        assert abs(of_class.mean() - place / (count + 1)) < 4 * exact.std() / np.sqrt(DRAWS)
        for other in (place - 1, min(place + 1, count)):  # a neighbour would be noticed
            assert kstest(of_class, beta(other, count + 1 - other).cdf).pvalue < 1e-9


def test_probabilities_in_the_steps_of_int8_are_covered_no_less():
    rng = np.random.default_rng(2)
    found = covered([drawn(rng, 60, 60, 256) for _ in range(DRAWS)], 0.5 / 256)
    place = rank(60, 0.95)
    assert (found.mean(axis=0) > place / 61 - 4 * beta(place, 61 - place).std() / np.sqrt(DRAWS)).all()


def test_one_file_of_each_patient_and_class_counts():
    patients, labels = np.array([3, 3, 3, 5, 5, 9]), np.array([0, 0, 1, 1, 1, 0])
    rows = one_of_each(patients, labels)
    assert sorted(zip(patients[rows], labels[rows], strict=True)) == [(3, 0), (3, 1), (5, 1), (9, 0)]
    assert (one_of_each(patients, labels) == rows).all()
    many = np.repeat(np.arange(2000), 2)  # neither the first nor the last file of a patient is preferred
    assert 900 < (one_of_each(many, many % 2) % 2).sum() < 1100


@pytest.mark.parametrize("limits", [(0.4, 0.6), (0.7, 0.2), (0.5, 0.5)])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_many_probabilities_are_judged_as_one_is(limits, threshold):
    coverage = Coverage(0.95, *limits, (60, 60))
    spec = ModelSpec("cnn", 96, "pad", "bilinear", LABELS, threshold, "radiograph")
    spec = replace(spec, coverage=coverage)
    probabilities = np.arange(0, 1.001, 0.05).round(2)
    is_open, doubt = left_open(coverage, probabilities), is_in_doubt(coverage, probabilities, threshold)
    for probability, row, in_doubt in zip(probabilities, is_open, doubt, strict=True):
        assert coverage.classes(float(probability)) == tuple(np.flatnonzero(row))
        assert bool(spec.doubt(float(probability))) == in_doubt
