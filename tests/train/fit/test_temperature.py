"""One temperature for all logits, chosen on validation radiographs."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend
from train.fit.temperature import HIGHEST, LOWEST, choose_temperature, divide_logits, log_odds, shift_logits


def draw(too_sure: float, count: int = 4000):
    """(probabilities, labels) of a network whose logits are `too_sure` times those of the truth."""
    rng = np.random.default_rng(7)
    logits = rng.normal(0.0, 2.0, count)
    labels = (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return 1 / (1 + np.exp(-too_sure * logits)), labels


@pytest.mark.parametrize("too_sure", [1.5, 2.0, 3.0])
def test_the_factor_of_a_network_too_sure_of_itself_is_found(too_sure):
    probabilities, labels = draw(too_sure)
    assert choose_temperature(probabilities, labels, np.arange(labels.size)) == pytest.approx(too_sure, rel=0.1)


def test_a_modest_network_is_left_alone():
    probabilities, labels = draw(0.5)
    assert choose_temperature(probabilities, labels, np.arange(labels.size)) == pytest.approx(LOWEST, abs=0.01)


def test_copies_of_one_radiograph_weigh_as_one():
    probabilities, labels = draw(2.0)
    groups = np.arange(labels.size)
    wrong = np.full(20_000, 0.999)  # twenty thousand copies of one radiograph, judged wrong
    chosen = choose_temperature(
        np.concatenate([probabilities, wrong]),
        np.concatenate([labels, np.zeros(wrong.size, np.int64)]),
        np.concatenate([groups, np.full(wrong.size, groups.max() + 1)]),
    )
    assert chosen == pytest.approx(2.0, rel=0.1) and chosen < HIGHEST


def test_dividing_logits_keeps_order_and_the_side_of_one_half():
    prepare_backend(0)
    from train.networks.cnn import build_cnn

    model = build_cnn(32)
    images = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    before = model.predict_on_batch(images)[:, 0].astype(np.float64)
    divide_logits(model, 2.0)
    after = model.predict_on_batch(images)[:, 0].astype(np.float64)
    np.testing.assert_allclose(np.log(after / (1 - after)), np.log(before / (1 - before)) / 2.0, atol=1e-5)


def test_the_shift_of_a_network_taught_with_equal_classes_is_the_log_of_the_odds():
    # One fracture in ten, taught as if half of all were: the mean probability is right again, and the truth is met.
    rng = np.random.default_rng(3)
    labels = (rng.random(40_000) < 0.1).astype(np.int64)
    evidence = rng.normal(2.0 * labels - 1.0, 1.0) * 2.0  # log of the ratio of both densities
    shifted = 1 / (1 + np.exp(-(evidence + log_odds(labels))))
    assert shifted.mean() == pytest.approx(labels.mean(), rel=0.03)
    likely = (shifted > 0.4) & (shifted < 0.6)
    assert labels[likely].mean() == pytest.approx(0.5, abs=0.06)
    assert log_odds(np.array([1, 0, 1, 0])) == 0.0 == log_odds(np.array([1, 1]))


def test_shifting_logits_adds_to_each():
    prepare_backend(0)
    from train.networks.cnn import build_cnn

    model = build_cnn(32)
    images = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    before = model.predict_on_batch(images)[:, 0].astype(np.float64)
    shift_logits(model, -1.5)
    after = model.predict_on_batch(images)[:, 0].astype(np.float64)
    np.testing.assert_allclose(np.log(after / (1 - after)), np.log(before / (1 - before)) - 1.5, atol=1e-5)
