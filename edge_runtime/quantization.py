"""Affine quantisation: real = scale * (stored - zero_point).

As in Jacob et al. 2018 (arXiv:1712.05877), rounding half to even as the engines do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The contract of every int8 file: its input is grey - 128, which is grey / 255 in this scale and zero point, exactly.
GREY_SCALE = 1.0 / 255.0
GREY_ZERO_POINT = -128


def quantize(real: NDArray[np.floating], scale: float, zero_point: int, dtype: str) -> NDArray[np.integer]:
    """Integers of `dtype` (`int8` or `uint8`) that stand for the real values, clipped to its range.

    Args:
        real: any shape, any float dtype.
        scale: real units a step, above 0.
        zero_point: the integer that means 0.0.
        dtype: name of the integer type.
    """
    limits = np.iinfo(dtype)
    # Round in float64 and clip before narrowing: a value beyond the range must not wrap around.
    steps = np.rint(np.asarray(real, dtype=np.float64) / scale) + zero_point
    stored: NDArray[np.integer] = np.clip(steps, limits.min, limits.max).astype(dtype)
    return stored


def dequantize(stored: NDArray[np.integer], scale: float, zero_point: int) -> NDArray[np.float32]:
    """float32 real values that integers stand for, same shape."""
    # int64 first: subtracting the zero point in int8 would wrap around.
    return (scale * (stored.astype(np.int64) - zero_point)).astype(np.float32)


def grey_to_int8(grey_u8: NDArray[np.uint8]) -> NDArray[np.int8]:
    """int8 grey - 128, same shape: the input of every int8 file, with no float arithmetic."""
    # Flipping the top bit of an unsigned byte and reading it as signed is the subtraction of 128.
    return (grey_u8 ^ np.uint8(0x80)).view(np.int8)


def grey_to_float(grey_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 grey / 255, same shape: the input of every float file."""
    real: NDArray[np.float32] = grey_u8.astype(np.float32) / np.float32(255.0)
    return real
