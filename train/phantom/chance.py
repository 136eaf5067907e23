"""Chance that falls alike on every machine: numbers from raw PCG64 words and plain arithmetic.

NumPy promises that a bit generator's raw words never change; it promises nothing of the sort for
``Generator.uniform`` or ``Generator.normal`` (NEP 19), whose C code may also fuse a multiplication
and an addition on one processor and not on another. So only raw words are used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Option = TypeVar("Option")

WORD_BITS = 64
MANTISSA_BITS = 53
LIMBS_PER_WORD = 4
# A sum of four uniform 16-bit integers has this mean and standard deviation.
LIMB_SUM_MEAN = 4 * 65535 / 2
LIMB_SUM_DEVIATION = (4 * (65536**2 - 1) / 12) ** 0.5


class Chance:
    """One stream of random draws, named by a key of whole numbers."""

    def __init__(self, *key: int) -> None:
        """Open the stream ``key``; equal keys give equal draws.

        Args:
            *key: Whole numbers >= 0, such as seed, index and the stream's own number.
        """
        self._words = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float, high: float) -> float:
        """Return a number drawn evenly from [low, high)."""
        mantissa = int(self._words.random_raw()) >> (WORD_BITS - MANTISSA_BITS)
        return low + (high - low) * (mantissa / 2**MANTISSA_BITS)

    def either_sign(self, low: float, high: float) -> float:
        """Return a number whose size is drawn from [low, high) and whose sign from a coin."""
        size = self.uniform(low, high)
        return size if self.happens(0.5) else -size

    def whole(self, low: int, high: int) -> int:
        """Return a whole number drawn from low to high, both included."""
        return low + int(self.uniform(0, high - low + 1))

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform(0, 1) < probability

    def pick(self, options: Sequence[Option]) -> Option:
        """Return one of the options, each as likely as the other."""
        return options[self.whole(0, len(options) - 1)]

    def noise(self, height: int, width: int) -> NDArray[np.float64]:
        """Return nearly normal noise, float64 (height, width), mean 0, standard deviation 1.

        Each value is the sum of four uniform 16-bit integers (Irwin-Hall, n = 4): exact, fast and
        without the logarithms of a normal deviate. It ends at 3.5 standard deviations.
        """
        words = self._words.random_raw(height * width)
        limbs = words.view(np.uint16).reshape(height, width, LIMBS_PER_WORD).astype(np.int32)
        total = limbs[..., 0] + limbs[..., 1] + limbs[..., 2] + limbs[..., 3]
        return (total - LIMB_SUM_MEAN) / LIMB_SUM_DEVIATION
