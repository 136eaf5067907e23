"""Thresholds keep what was asked for, on validation radiographs, and lie between probabilities."""

import numpy as np
import pytest

from edge_runtime.errors import DataError
from train.config import TrainConfig
from train.operating_point import choose_operating_point, offered_points, points_in_spec

LABELS = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])
PROBABILITIES = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def test_without_a_wish_the_threshold_lies_between_classes_that_lie_apart():
    probabilities = np.array([0.05, 0.1, 0.2, 0.3, 0.7, 0.32, 0.75, 0.8, 0.85, 0.9])
    point = choose_operating_point(LABELS, probabilities)
    assert point.rule == "youden" and point.wanted is None
    assert point.threshold == pytest.approx((0.32 + 0.7) / 2)
    assert (point.sensitivity.value, point.specificity.value) == (1.0, 1.0)


def test_without_a_wish_the_threshold_is_worth_more_on_others_than_the_best_one_of_few():
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], [84, 262])

    def index(threshold, positive, negative):
        return np.mean(positive >= threshold) + np.mean(negative < threshold)

    def drawn(fractured, others):  # probabilities of two classes whose logits overlap
        return (1 / (1 + np.exp(-rng.normal(mean, 1.0, count))) for mean, count in ((1.7, fractured), (0.0, others)))

    positive, negative = drawn(20_000, 20_000)
    smoothed, plain = [], []
    for _ in range(40):
        few = np.concatenate(list(drawn(84, 262)))
        smoothed.append(index(choose_operating_point(labels, few).threshold, positive, negative))
        best_of_few = max(few, key=lambda threshold: index(threshold, few[:84], few[84:]))
        plain.append(index(best_of_few, positive, negative))
    assert np.mean(smoothed) > np.mean(plain) + 0.004


@pytest.mark.parametrize("probabilities", [[0.3, 0.3, 0.3, 0.3], [0.2, 0.2, 0.9, 0.2], [0.0, 0.0, 1.0, 1.0]])
def test_answers_that_are_all_alike_have_a_threshold_too(probabilities):
    point = choose_operating_point(np.array([0, 0, 1, 1]), np.array(probabilities))
    assert 0.0 < point.threshold < 1.0 and point.sensitivity.value + point.specificity.value >= 1.0


@pytest.mark.parametrize(
    ("wish", "threshold", "sensitivity", "specificity"),
    [
        ({"sensitivity": 0.8}, 0.55, 0.8, 1.0),
        ({"sensitivity": 0.9}, 0.35, 1.0, 0.8),
        ({"specificity": 0.7}, 0.35, 1.0, 0.8),
        ({"specificity": 0.9}, 0.55, 0.8, 1.0),
    ],
)
def test_a_wish_is_kept_at_the_least_price(wish, threshold, sensitivity, specificity):
    point = choose_operating_point(LABELS, PROBABILITIES, **wish)
    assert point.rule == next(iter(wish)) and point.wanted == next(iter(wish.values()))
    assert point.threshold == pytest.approx(threshold)
    assert (point.sensitivity.value, point.specificity.value) == (sensitivity, specificity)
    assert point.sensitivity.low < sensitivity <= point.sensitivity.high


@pytest.mark.parametrize(("kept", "of"), [(1, 5), (1, 6), (9, 11), (2, 12), (23, 25)])
def test_a_wish_that_is_met_exactly_is_met_to_the_last_digit(kept, of):
    # Every second one is fractured: to find one more costs one more false alarm.
    labels, probabilities = np.array([1, 0] * of), np.linspace(0.9, 0.1, 2 * of)
    assert choose_operating_point(labels, probabilities, sensitivity=kept / of).sensitivity.value == kept / of
    assert choose_operating_point(1 - labels, probabilities[::-1], specificity=kept / of).specificity.value == kept / of


def test_a_threshold_can_be_reached_and_missed_even_where_every_probability_is_1():
    point = choose_operating_point(np.array([1, 0]), np.array([1.0, 1.0]), specificity=0.5)
    assert 0.0 < point.threshold < 1.0


def test_a_network_offers_three_points_and_the_one_asked_for_first():
    balanced = choose_operating_point(LABELS, PROBABILITIES)
    assert [point.name for point in offered_points(LABELS, PROBABILITIES, balanced)] == [
        "balanced",
        "sensitivity-0.90",
        "specificity-0.90",
    ]
    asked = choose_operating_point(LABELS, PROBABILITIES, sensitivity=0.8)
    points = points_in_spec(offered_points(LABELS, PROBABILITIES, asked))
    assert [point.name for point in points] == ["sensitivity-0.80", "balanced", "sensitivity-0.90", "specificity-0.90"]
    assert points[0].threshold == asked.threshold and points[0].sensitivity[0] == asked.sensitivity.value


def test_two_wishes_are_refused():
    with pytest.raises(DataError, match="one of them, not both"):
        TrainConfig("cnn", sensitivity=0.9, specificity=0.9)


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (1.0, 0.0, 0.0)])
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(DataError, match="--fractions"):
        TrainConfig("cnn", fractions=fractions)
