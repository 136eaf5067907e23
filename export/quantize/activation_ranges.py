"""The range of values that int8 covers in each tensor of a float `.tflite` file, from calibration images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from export.convert.tflite_tensors import Inputs, Ranges, TensorReader
from train.int8.range_rules import BINS, is_flat, least_squares, without_tails

# The logit is clipped where the probability, in steps of 1/255, hardly moves any more (0.0025 and 0.9975), so that its
# 255 steps lie where decisions fall: overconfident networks have logits of -16 to 34, which would step by 0.2.
LOGIT_REACH = 6.0
# A hard swish, x * relu6(x + 3) / 6, is zero of all that is below -3. Where nothing else reads a tensor, its steps need
# not go there: those of MobileNetV3Small, -7 to 7, become a quarter finer. A little beyond, for zero has to be a step.
HARD_SWISH_BEGINS = -3.1


def measure_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """The smallest and the largest value of every tensor; of logits and of what a hard swish reads, what counts.

    Args:
        float_tflite: file with one input.
        inputs: calibration inputs; one is in memory at a time.
    """
    reader = TensorReader(float_tflite)
    lowest, highest = dict.fromkeys(reader.indices, np.inf), dict.fromkeys(reader.indices, -np.inf)
    for image in inputs():
        for index, values in reader.read(image):
            lowest[index] = min(lowest[index], float(values.min()))
            highest[index] = max(highest[index], float(values.max()))
    found = {index: (lowest[index], highest[index]) for index in reader.indices}
    known = {index: _within_reach(*found[index]) for index in reader.logits}
    for index in reader.hard_swished & found.keys():
        lowest_read, highest_read = found[index]
        if highest_read > HARD_SWISH_BEGINS:
            known[index] = max(lowest_read, HARD_SWISH_BEGINS), highest_read
    return found | known | dict.fromkeys(reader.probabilities, (0.0, 1.0))


def _within_reach(lowest: float, highest: float) -> tuple[float, float]:
    """The part of a logit's range that probabilities can tell, with zero in it."""
    return max(min(lowest, 0.0), -LOGIT_REACH), min(max(highest, 0.0), LOGIT_REACH)


def least_squares_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """Ranges that lose least by rounding and clipping together, in the mean square over all values.

    Tensors without activation have long tails: a bottleneck of MobileNetV2 reaches to 45 where most values are below
    1, and covering six tenths of that halves the square of the error.

    Args:
        float_tflite: file with one input.
        inputs: calibration inputs, read twice; one is in memory at a time.
    """
    return _narrowed(float_tflite, inputs, least_squares)


def percentile_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """Ranges that leave out one value in ten thousand at either end, as percentile calibrators do.

    Args:
        float_tflite: file with one input.
        inputs: calibration inputs, read twice; one is in memory at a time.
    """
    return _narrowed(float_tflite, inputs, without_tails)


def _narrowed(
    float_tflite: bytes, inputs: Inputs, rule: Callable[[NDArray[np.floating], float, float], tuple[float, float]]
) -> Ranges:
    """The full ranges, narrowed by a rule that reads (counts in bins, smallest, largest) of a tensor."""
    full = measure_ranges(float_tflite, inputs)
    return full | {
        index: rule(counts, *full[index]) for index, counts in _histograms(float_tflite, inputs, full).items()
    }


def _histograms(float_tflite: bytes, inputs: Inputs, full: Ranges) -> dict[int, NDArray[np.floating]]:
    """Counts of the values of each tensor, in bins over its full range; not of the input, logits and constants."""
    reader = TensorReader(float_tflite)
    # The input keeps its scale of 1/255 wherever it is moved to.
    kept = reader.logits | reader.probabilities | reader.moved
    counted = [index for index in reader.indices if index not in kept and not is_flat(*full[index])]
    counts: dict[int, NDArray[np.floating]] = {index: np.zeros(BINS) for index in counted}
    for image in inputs():
        for index, values in reader.read(image):
            if index in counts:
                counts[index] += np.histogram(values, BINS, full[index])[0]
    return counts
