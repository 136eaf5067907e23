"""Rates rise and fall as planned, and the running mean is one."""

import numpy as np

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.fit.plans import WARM_UP, RunningMean, averaged_cosine, falling_by_root  # noqa: E402


def test_the_rate_warms_up_to_its_highest_and_ends_at_zero():
    schedule = averaged_cosine(1e-3, 1000).optimizer()._learning_rate
    rates = np.array([float(schedule(step)) for step in range(1001)])
    assert rates[0] == 0.0 and np.argmax(rates) == round(WARM_UP * 1000)
    assert rates.max() == np.float32(1e-3) and rates[-1] < 1e-8
    assert np.all(np.diff(rates[round(WARM_UP * 1000) :]) <= 0)


def test_by_root_half_of_the_rate_is_left_after_three_quarters():
    plan = falling_by_root(1e-3, 8)
    assert plan.rate(0) == 1e-3 and plan.rate(6) == 5e-4


def test_the_running_mean_follows_and_stands_in_for_the_weights():
    variable = keras.Variable(np.zeros(2, np.float32))
    mean = RunningMean([variable], 50.0)
    variable.assign([4.0, -4.0])
    reached = []
    for _ in range(400):
        mean.on_train_batch_end(0)
        with mean.in_place():
            reached.append(float(variable[0]))
    assert 0.0 < reached[0] < 4.0 and np.all(np.diff(reached) >= 0)
    np.testing.assert_allclose(reached[-1], 4.0, atol=0.02)
    np.testing.assert_array_equal(variable, [4.0, -4.0])


def test_a_plan_without_averages_keeps_none():
    variable = keras.Variable(np.ones(1, np.float32))
    mean = RunningMean([variable], falling_by_root(1e-3, 2).averaged_steps)
    mean.on_train_batch_end(0)
    assert not mean.means
    with mean.in_place():
        assert float(variable[0]) == 1.0
