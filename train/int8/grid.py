"""Rounding to the integers of int8, once for all that trains, chooses weights, or tells what rounding will cost.

A grid is a step (the `scale` of an int8 tensor) and a range of integers. Weights are symmetric about zero with a step
for each output channel; tensors between layers have one step and a zero point, which shifts the range of integers.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

LARGEST_INTEGER = 127  # of weights, which are symmetric: -128 is not used
STEPS = 255  # between the smallest and the largest integer of a tensor

Array = Any  # of numpy, or of the backend with `maths=keras.ops`
Bounds = tuple[float, float]  # smallest and largest integer

WEIGHT_INTEGERS: Bounds = (-LARGEST_INTEGER, LARGEST_INTEGER)


def to_integers(values: Array, scale: Array, integers: Bounds = WEIGHT_INTEGERS, maths: ModuleType = np) -> Array:
    """The nearest integers of a grid, zero point taken off, in the type of the values."""
    return maths.clip(maths.round(values / scale), *integers)


def round_to_grid(values: Array, scale: Array, integers: Bounds = WEIGHT_INTEGERS, maths: ModuleType = np) -> Array:
    """Values as int8 holds them.

    Args:
        values: real, of any shape.
        scale: step between two integers, positive; broadcast against the values.
        integers: smallest and largest, as `integers_around_zero` gives them for tensors.
        maths: numpy, or keras.ops for tensors of the backend.
    """
    return to_integers(values, scale, integers, maths) * scale


def weight_scale(weights: Array, axes: tuple[int, ...], maths: ModuleType = np) -> Array:
    """The step of each output channel: its largest magnitude is integer 127. Axes are kept; 1 where all are zero.

    Args:
        weights: a kernel.
        axes: all but those of the output channels.
        maths: numpy, or keras.ops for tensors of the backend.
    """
    largest = maths.max(maths.abs(weights), axis=axes, keepdims=True)
    return maths.where(largest > 0.0, largest / LARGEST_INTEGER, 1.0)


def range_scale(lowest: float, highest: float) -> float:
    """The step of a tensor whose 256 integers cover a range."""
    return (highest - lowest) / STEPS


def integers_around_zero(lowest: float, scale: float) -> Bounds:
    """The smallest and largest of 256 integers, counted from the one that stands for zero.

    Args:
        lowest: smallest value that is covered, zero at most.
        scale: step between two integers.
    """
    zero_point = round(-lowest / scale)
    return -zero_point, STEPS - zero_point
