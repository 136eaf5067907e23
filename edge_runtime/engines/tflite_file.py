"""What LiteRT and tflite-runtime share: both offer the same Interpreter class."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.tensors import check_input_contract, check_tensor, decode_output, encode_input
from edge_runtime.errors import ModelError
from edge_runtime.quiet import quiet_native_stderr
from edge_runtime.spec import ModelSpec, Tensor
from edge_runtime.terminal_text import one_line

SIGNATURE = "serving_default"


class TFLiteFileEngine:
    """Runs a .tflite file through an Interpreter class."""

    name = "tflite"

    def __init__(
        self, interpreter_class: Any, version: str, content: bytes, where: str, spec: ModelSpec, threads: int | None
    ) -> None:
        check_input_contract(spec, where)
        self._where = where
        self.version = version
        self._lock = threading.Lock()  # set, invoke and get are three calls on one state
        self.settings: Mapping[str, str | int] = {} if threads is None else {"threads": threads}
        try:
            with quiet_native_stderr():  # announces its delegate at every start
                self._interpreter = interpreter_class(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{where}: {self.name} {version} cannot load it: {one_line(error)}") from error
        self._content = content  # the interpreter reads the weights where they lie
        expected_input, *expected_outputs = spec.tensors
        self._input = expected_input
        self._input_index = _index_of(runner.get_input_details(), expected_input, where)
        # A signature names the outputs; the interpreter's own list orders them by chance.
        self._outputs = [(tensor, _index_of(runner.get_output_details(), tensor, where)) for tensor in expected_outputs]

    def run(self, image_u8: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        stored = encode_input(image_u8, self._input)
        try:
            with self._lock:
                self._interpreter.set_tensor(self._input_index, stored)
                self._interpreter.invoke()
                answers = [self._interpreter.get_tensor(index) for _, index in self._outputs]  # copies
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self._where}: {self.name} {self.version} cannot run it: {one_line(error)}") from error
        return {
            tensor.name: decode_output(value, tensor) for (tensor, _), value in zip(self._outputs, answers, strict=True)
        }


def _index_of(details: dict[str, dict[str, Any]], expected: Tensor, where: str) -> int:
    """The interpreter's index of a named tensor, after it was compared with the spec."""
    if expected.name not in details:
        raise ModelError(f"{where}: has no tensor {expected.name!r}, only {sorted(details)}; export it again")
    found = details[expected.name]
    scale, zero_point = found["quantization"]
    check_tensor(expected, np.dtype(found["dtype"]).name, float(scale), int(zero_point), where)
    return int(found["index"])
