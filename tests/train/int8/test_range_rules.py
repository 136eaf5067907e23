"""Which part of a tensor's values int8 covers, by each rule."""

import numpy as np
import pytest

from train.int8.grid import integers_around_zero, range_scale, round_to_grid
from train.int8.range_rules import BINS, is_flat, least_squares, least_squares_range, without_tails


def error(values, lowest, highest):
    scale = range_scale(lowest, highest)
    return float(np.mean((round_to_grid(values, scale, integers_around_zero(lowest, scale)) - values) ** 2))


def test_the_least_squares_range_loses_less_than_the_full_one():
    values = np.random.default_rng(0).standard_t(3, 100_000).astype(np.float32)  # long tails
    lowest, highest = least_squares_range(values)
    full = float(values.min()), float(values.max())
    assert full[0] < lowest < 0.0 < highest < full[1]
    assert error(values, lowest, highest) < error(values, *full)


def test_values_without_tails_keep_their_range():
    values = np.linspace(0.0, 6.0, 50_001, dtype=np.float32)
    assert least_squares_range(values) == pytest.approx((0.0, 6.0))


@pytest.mark.parametrize(("value", "expected"), [(2.0, (0.0, 2.0)), (-2.0, (-2.0, 0.0)), (0.0, (0.0, 0.0))])
def test_a_tensor_of_one_value_covers_it_and_zero(value, expected):
    assert least_squares_range(np.full(100, value, np.float32)) == expected


def test_percentiles_leave_one_value_in_ten_thousand_out_at_either_end():
    counts = np.zeros(BINS)
    counts[BINS // 4 : -BINS // 4] = 1000.0
    counts[[0, -1]] = 1.0
    lowest, highest = without_tails(counts, -8.0, 8.0)
    width = 16.0 / BINS
    assert (lowest, highest) == pytest.approx((-4.0, 4.0), abs=2 * width)


@pytest.mark.parametrize("rule", [least_squares, without_tails])
def test_zero_lies_in_every_range(rule):
    counts = np.ones(BINS)
    assert rule(counts, 3.0, 5.0)[0] == 0.0 and rule(counts, -5.0, -3.0)[1] == 0.0


def test_a_range_that_float32_cannot_divide_is_flat():
    assert is_flat(1.0, 1.0 + 1e-5) and is_flat(0.0, 0.0) and not is_flat(0.0, 1e-5) and not is_flat(-1.0, 1.0)
