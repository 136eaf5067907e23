"""Which tensor of an `.onnx` graph is which tensor of a `.tflite` file of the same network.

Two converters name and order tensors in their own ways, but the values agree to float32 rounding. So tensors are
paired by what they hold for one image; a pair then gets one range, and both int8 files round alike.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from export.convert.onnx_tensors import session_of_tensors
from export.convert.tflite_tensors import TensorReader

_TOLERANCE = 1e-3  # of the spread of a tensor, between its statistics in both formats


def match_tensors(float_onnx: bytes, float_tflite: bytes, image: NDArray[np.float32]) -> dict[str, int]:
    """The index of the `.tflite` tensor that holds the same values, by the name of the `.onnx` tensor.

    Args:
        float_onnx: with one input.
        float_tflite: of the same network.
        image: (1, S, S, 1), 0 to 1, for which values are compared.
    """
    known = [(index, _statistics(values)) for index, values in TensorReader(float_tflite).read(image)]
    pairs = {}
    for name, values in _all_tensors(float_onnx, image).items():
        found = _statistics(values)
        fitting = [(index, np.abs(found - other).max()) for index, other in known if other[0] == found[0]]
        index, distance = min(fitting, key=lambda pair: pair[1], default=(-1, np.inf))
        if distance <= _TOLERANCE * max(1.0, found[1]):
            pairs[name] = index
    return pairs


def _all_tensors(float_onnx: bytes, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    model = onnx.load_from_string(float_onnx)
    names = [name for node in model.graph.node for name in node.output]
    session = session_of_tensors(model, names)
    (entry,) = session.get_inputs()
    values = dict(zip(names, session.run(names, {entry.name: image}), strict=True))
    return {entry.name: image} | {name: value for name, value in values.items() if value.dtype == np.float32}


def _statistics(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(number of values, spread, mean, smallest, largest): the same in any order of the axes."""
    exact = values.astype(np.float64)
    return np.array([values.size, exact.std(), exact.mean(), exact.min(), exact.max()])
