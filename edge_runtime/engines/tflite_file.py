"""What LiteRT and tflite-runtime share: both offer the same Interpreter class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.tensors import check_input_contract, check_tensor, decode_output, encode_input
from edge_runtime.errors import ModelError
from edge_runtime.quiet import quiet_native_stderr
from edge_runtime.spec import ModelSpec, Tensor

SIGNATURE = "serving_default"


class TFLiteFileEngine:
    """Runs a .tflite file through an Interpreter class."""

    name = "tflite"

    def __init__(self, interpreter_class: Any, version: str, path: Path, spec: ModelSpec, threads: int | None) -> None:
        check_input_contract(spec, str(path))
        self.version = version
        self.settings: Mapping[str, str | int] = {} if threads is None else {"threads": threads}
        try:
            with quiet_native_stderr():  # announces its delegate at every start
                self._interpreter = interpreter_class(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: {self.name} {version} cannot load it: {error}") from error
        expected_input, *expected_outputs = spec.tensors
        self._input = expected_input
        self._input_index = _index_of(runner.get_input_details(), expected_input, path)
        # A signature names the outputs; the interpreter's own list orders them by chance.
        self._outputs = [(tensor, _index_of(runner.get_output_details(), tensor, path)) for tensor in expected_outputs]

    def run(self, image_u8: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        self._interpreter.set_tensor(self._input_index, encode_input(image_u8, self._input))
        self._interpreter.invoke()
        return {
            tensor.name: decode_output(self._interpreter.get_tensor(index), tensor) for tensor, index in self._outputs
        }


def _index_of(details: dict[str, dict[str, Any]], expected: Tensor, path: Path) -> int:
    """The interpreter's index of a named tensor, after it was compared with the spec."""
    if expected.name not in details:
        raise ModelError(f"{path}: has no tensor {expected.name!r}, only {sorted(details)}; export it again")
    found = details[expected.name]
    scale, zero_point = found["quantization"]
    check_tensor(expected, np.dtype(found["dtype"]).name, float(scale), int(zero_point), str(path))
    return int(found["index"])
