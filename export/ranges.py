"""The smallest and largest value that calibration images cause in each tensor of a float `.tflite` file.

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


def measure_ranges(float_tflite: bytes, inputs: Inputs) -> Ranges:
    """The range of every float tensor that an operator writes, and of the input.

    Args:
        float_tflite: file with one input.
        inputs: calibration inputs; one is in memory at a time.
    """
    interpreter = Interpreter(
        model_content=float_tflite,
        experimental_preserve_all_tensors=True,
        # An accelerator would run several operators as one and hide the tensors between them.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    indices = [entry["index"], *_written_tensors(interpreter)]
    lowest, highest = np.full(len(indices), np.inf), np.full(len(indices), -np.inf)
    for image in inputs():
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        for row, index in enumerate(indices):
            values = interpreter.get_tensor(index)
            lowest[row] = min(lowest[row], values.min())
            highest[row] = max(highest[row], values.max())
    return {index: (float(lowest[row]), float(highest[row])) for row, index in enumerate(indices)}


def _written_tensors(interpreter: Interpreter) -> list[int]:
    """Indices of the float32 tensors that operators write."""
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    written = [int(index) for operator in interpreter._get_ops_details() for index in operator["outputs"]]
    return [index for index in written if details[index]["dtype"] is np.float32]
