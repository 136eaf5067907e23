"""The range of values that int8 covers in each tensor of a float `.tflite` file, from calibration images.

TensorFlow's own calibrator reads tensors from memory that later operators may already have overwritten: an addition
that works in place leaves its result in its input. With it the range of MobileNetV2's input came out as 0 to 2, and
those of its residual sums too wide. Here every tensor keeps its own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

Inputs = Callable[[], Iterator[NDArray[np.float32]]]  # gives the calibration inputs, each (1, S, S, 1), 0 to 1
Ranges = dict[int, tuple[float, float]]  # (smallest, largest) by the index of the tensor in the file

# The logit is clipped where the probability, in steps of 1/255, hardly moves any more (0.0025 and 0.9975), so that its
# 255 steps lie where decisions fall: overconfident networks have logits of -16 to 34, which would step by 0.2.
LOGIT_REACH = 6.0

_BINS = 2048  # of a histogram: 8 for each step of int8
_FRACTIONS = np.linspace(0.2, 1.0, 33)  # of the full range, tried
_STEPS = 255
_MOVING = {"PAD", "PADV2", "RESHAPE"}  # operators whose output has the scale of their input
_TAIL = 1e-4  # share of values beyond either end of a percentile range


class TensorReader:
    """Runs a float file and shows every float tensor that an operator writes, and the input.

    Args:
        float_tflite: file with one input.
    """

    def __init__(self, float_tflite: bytes) -> None:
        self._interpreter = Interpreter(
            model_content=float_tflite,
            experimental_preserve_all_tensors=True,
            # An accelerator would run several operators as one and hide the tensors between them.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        (entry,) = self._interpreter.get_input_details()
        self._entry = entry["index"]
        self.indices = [self._entry, *_written_tensors(self._interpreter)]  # of the tensors, in order of writing
        self.logits, self.probabilities = _around_sigmoids(self._interpreter)  # indices
        self.moved = _moved(self._interpreter, self._entry)  # indices of those that hold the input, padded or reshaped

    def read(self, image: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(index, values) of each tensor for one input, (1, S, S, 1)."""
        self._interpreter.set_tensor(self._entry, image)
        self._interpreter.invoke()
        for index in self.indices:
            yield index, self._interpreter.get_tensor(index)


def measure_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """The smallest and the largest value of every tensor; of logits no more than LOGIT_REACH.

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
    full = measure_ranges(float_tflite, inputs)
    counts = _histograms(float_tflite, inputs, full)
    return full | {index: _least_squares(counts[index], *full[index]) for index in counts}


def percentile_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """Ranges that leave out one value in ten thousand at either end, as percentile calibrators do.

    Args:
        float_tflite: file with one input.
        inputs: calibration inputs, read twice; one is in memory at a time.
    """
    full = measure_ranges(float_tflite, inputs)
    counts = _histograms(float_tflite, inputs, full)
    return full | {index: _without_tails(counts[index], *full[index]) for index in counts}


def _histograms(float_tflite: bytes, inputs: Inputs, full: Ranges) -> dict[int, NDArray[np.floating]]:
    """Counts of the values of each tensor, in bins over its full range; not of the input, logits and constants."""
    reader = TensorReader(float_tflite)
    # The input keeps its scale of 1/255 wherever it is moved to.
    kept = reader.logits | reader.probabilities | reader.moved
    counted = [index for index in reader.indices if index not in kept and not _is_flat(*full[index])]
    counts = {index: np.zeros(_BINS) for index in counted}
    for image in inputs():
        for index, values in reader.read(image):
            if index in counts:
                counts[index] += np.histogram(values, _BINS, full[index])[0]
    return counts


def _without_tails(counts: NDArray[np.floating], lowest: float, highest: float) -> tuple[float, float]:
    """The range between the outermost percentiles, to the width of a bin; zero lies in it."""
    edges = np.linspace(lowest, highest, _BINS + 1)
    below = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(below, _TAIL, side="right"))
    last = int(np.searchsorted(below, 1.0 - _TAIL, side="left"))
    return min(float(edges[first]), 0.0), max(float(edges[last + 1]), 0.0)


def least_squares_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """As `least_squares_ranges`, of the values of one tensor; zero lies in it."""
    full = float(values.min()), float(values.max())
    if _is_flat(*full):
        return min(full[0], 0.0), max(full[1], 0.0)
    return _least_squares(np.histogram(values, _BINS, full)[0], *full)


def _is_flat(lowest: float, highest: float) -> bool:
    """Whether a range is too narrow, beside its values, to be divided into bins in float32."""
    return highest - lowest <= _BINS * np.finfo(np.float32).eps * max(abs(lowest), abs(highest))


def _least_squares(counts: NDArray[np.floating], lowest: float, highest: float) -> tuple[float, float]:
    """The part of the full range with the least mean square error."""
    edges = np.linspace(lowest, highest, _BINS + 1)
    values = (edges[:-1] + edges[1:]) / 2
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)  # zero is always one of the steps
    errors = []
    for fraction in _FRACTIONS:
        scale = (highest - lowest) * fraction / _STEPS
        zero_point = np.round(-lowest * fraction / scale)
        rounded = (np.clip(np.round(values / scale) + zero_point, 0, _STEPS) - zero_point) * scale
        errors.append(float(counts @ np.square(rounded - values)))
    best = float(_FRACTIONS[int(np.argmin(errors))])
    return lowest * best, highest * best


def _written_tensors(interpreter: Interpreter) -> list[int]:
    """Indices of the float32 tensors that operators write."""
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    written = [int(index) for operator in interpreter._get_ops_details() for index in operator["outputs"]]
    return [index for index in written if details[index]["dtype"] is np.float32]


def _moved(interpreter: Interpreter, entry: int) -> set[int]:
    """The input, and what operators make of it that only move it."""
    moved = {entry}
    for operator in interpreter._get_ops_details():  # in order of execution
        if operator["op_name"] in _MOVING and int(operator["inputs"][0]) in moved:
            moved.update(int(index) for index in operator["outputs"])
    return moved


def _around_sigmoids(interpreter: Interpreter) -> tuple[set[int], set[int]]:
    """Indices of what sigmoids read, and of what they write or a dense layer makes of it: the mean of some copies."""
    logits: set[int] = set()
    probabilities: set[int] = set()
    for operator in interpreter._get_ops_details():  # in order of execution
        if operator["op_name"] == "LOGISTIC":
            logits.add(int(operator["inputs"][0]))
            probabilities.add(int(operator["outputs"][0]))
        elif operator["op_name"] == "FULLY_CONNECTED" and int(operator["inputs"][0]) in probabilities:
            probabilities.add(int(operator["outputs"][0]))
    return logits, probabilities
