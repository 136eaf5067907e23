"""One rounding to int8 for weights and tensors, in numpy and in the backend alike."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.int8.grid import integers_around_zero, range_scale, round_to_grid, to_integers, weight_scale  # noqa: E402

RANGES = [(-1.0, 3.0), (0.0, 6.0), (-5.0, 0.0), (-0.37, 0.11)]


@pytest.mark.parametrize(("lowest", "highest"), RANGES)
def test_a_tensor_has_256_values_and_zero_is_one_of_them(lowest, highest):
    scale = range_scale(lowest, highest)
    integers = integers_around_zero(lowest, scale)
    rounded = round_to_grid(np.linspace(2 * lowest - 1, 2 * highest + 1, 20_001), scale, integers)
    assert np.unique(rounded).size == 256 and 0.0 in rounded
    assert abs(rounded.min() - lowest) <= scale / 2 and abs(rounded.max() - highest) <= scale / 2


@pytest.mark.parametrize(("lowest", "highest"), RANGES)
def test_no_value_inside_the_range_moves_by_more_than_half_a_step(lowest, highest):
    scale = range_scale(lowest, highest)
    values = np.linspace(lowest + scale / 2, highest - scale / 2, 1001)
    moved = np.abs(round_to_grid(values, scale, integers_around_zero(lowest, scale)) - values)
    assert moved.max() <= scale / 2 * (1 + 1e-9)  # float64 rounding of the product


def test_the_largest_weight_of_each_channel_is_integer_127():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    integers = to_integers(kernel, weight_scale(kernel, (0, 1, 2)))
    np.testing.assert_array_equal(np.abs(integers).max(axis=(0, 1, 2)), np.full(5, 127.0))
    np.testing.assert_array_equal(integers, np.round(integers))


def test_a_channel_of_zeros_stays_one():
    kernel = np.zeros((3, 3, 1, 2))
    np.testing.assert_array_equal(round_to_grid(kernel, weight_scale(kernel, (0, 1, 2))), kernel)


def test_numpy_and_the_backend_round_alike():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 5)).astype(np.float32)
    by_numpy = round_to_grid(kernel, weight_scale(kernel, (0, 1, 2)))
    tensor = keras.ops.convert_to_tensor(kernel)
    by_backend = round_to_grid(tensor, weight_scale(tensor, (0, 1, 2), keras.ops), maths=keras.ops)
    np.testing.assert_array_equal(by_numpy, np.asarray(by_backend))
