"""The tensors of a `.tflite` file: its ends, and what each of a float file holds for an image, from which ranges come.

TensorFlow's own calibrator reads tensors from memory that later operators may already have overwritten: an addition
that works in place leaves its result in its input. With it the range of MobileNetV2's input came out as 0 to 2, and
those of its residual sums too wide. Here every tensor keeps its own memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edge_runtime.engines.tflite_file import SIGNATURE
from edge_runtime.spec import Tensor
from export.convert.ends import HEATMAP, INPUT, OUTPUT

Inputs = Callable[[], Iterator[NDArray[np.float32]]]  # gives the calibration inputs, each (1, S, S, 1), 0 to 1
Ranges = dict[int, tuple[float, float]]  # (smallest, largest) by the index of the tensor in the file

_OF_IMAGES = 2  # axes of a tensor of values of whole images
_MOVING = {"PAD", "PADV2", "RESHAPE"}  # operators whose output has the scale of their input


def tflite_tensors(model: bytes) -> tuple[Tensor, ...]:
    """The named input and outputs of a `.tflite` file, with the scales inside it."""
    runner = Interpreter(model_content=model).get_signature_runner(SIGNATURE)
    outputs = runner.get_output_details()
    return (
        _tensor(INPUT, runner.get_input_details()[INPUT]),
        *(_tensor(name, outputs[name]) for name in (OUTPUT, HEATMAP) if name in outputs),
    )


def _tensor(name: str, details: dict[str, Any]) -> Tensor:
    dtype, (scale, zero_point) = np.dtype(details["dtype"]).name, details["quantization"]
    if dtype == "float32":
        return Tensor(name, dtype)
    return Tensor(name, dtype, float(scale), int(zero_point))


def with_all_tensors(content: bytes) -> Interpreter:
    """An interpreter of a `.tflite` file that keeps what each operator writes."""
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        # An accelerator would run several operators as one and hide the tensors between them.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter


class TensorReader:
    """Runs a float file and shows every float tensor that an operator writes, and the input.

    Args:
        float_tflite: file with one input.
    """

    def __init__(self, float_tflite: bytes) -> None:
        self._interpreter = with_all_tensors(float_tflite)
        (entry,) = self._interpreter.get_input_details()
        self._entry = entry["index"]
        self.indices = [self._entry, *_written_tensors(self._interpreter)]  # of the tensors, in order of writing
        self.logits, self.probabilities = _around_sigmoids(self._interpreter)  # indices
        self.moved = _moved(self._interpreter, self._entry)  # indices of those that hold the input, padded or reshaped
        self.hard_swished = _read_only_by(self._interpreter, "HARD_SWISH")  # indices

    def read(self, image: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(index, values) of each tensor for one input, (1, S, S, 1)."""
        self._interpreter.set_tensor(self._entry, image)
        self._interpreter.invoke()
        for index in self.indices:
            yield index, self._interpreter.get_tensor(index)


def only_inside(float_tflite: bytes, scope: re.Pattern[str]) -> set[int]:
    """Indices of the tensors that operators of a scope write for one another, and nobody else reads.

    Args:
        float_tflite: of a network.
        scope: finds the names of what its operators write.
    """
    interpreter = with_all_tensors(float_tflite)
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    operators = [
        ([int(index) for index in operator["inputs"]], [int(index) for index in operator["outputs"]])
        for operator in interpreter._get_ops_details()
    ]
    inside = {index for _, written in operators for index in written if scope.search(names[index])}
    read_outside = {index for read, written in operators if not inside & set(written) for index in read}
    return inside - read_outside


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


def _read_only_by(interpreter: Interpreter, kind: str) -> set[int]:
    """Indices of tensors that operators of one kind read, and no others."""
    readers: dict[int, set[str]] = {}
    for operator in interpreter._get_ops_details():
        for index in operator["inputs"]:
            readers.setdefault(int(index), set()).add(operator["op_name"])
    return {index for index, kinds in readers.items() if kinds == {kind}}


def _around_sigmoids(interpreter: Interpreter) -> tuple[set[int], set[int]]:
    """Indices of what sigmoids read, and of what they write or a dense layer makes of it: the mean of some copies.

    What the sigmoid of a map reads is no logit of an image: it may reach as far as it does.
    """
    ranks = {detail["index"]: len(detail["shape"]) for detail in interpreter.get_tensor_details()}
    logits: set[int] = set()
    probabilities: set[int] = set()
    for operator in interpreter._get_ops_details():  # in order of execution
        if operator["op_name"] == "LOGISTIC":
            if ranks[int(operator["inputs"][0])] == _OF_IMAGES:
                logits.add(int(operator["inputs"][0]))
            probabilities.add(int(operator["outputs"][0]))
        elif operator["op_name"] == "FULLY_CONNECTED" and int(operator["inputs"][0]) in probabilities:
            probabilities.add(int(operator["outputs"][0]))
    return logits, probabilities
