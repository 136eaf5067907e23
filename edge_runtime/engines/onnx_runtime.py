"""ONNX Runtime: x86-64 and 64-bit ARM."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.tensors import check_input_contract, check_tensor, decode_output, encode_input
from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec, Tensor
from edge_runtime.terminal_text import one_line

# Processors of this family that lack VNNI saturate 16-bit sums inside int8 products and answer differently from ARM,
# unless this option is set (ONNX Runtime documentation, "Quantize ONNX models", section on data type selection).
# Processors with VNNI sum in 32 bits: there the option changes no answer and takes twice the time.
_X64_PRECISION = "session.x64quantprecision"
_X64_MACHINES = frozenset({"x86_64", "AMD64"})
_VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})
_PROCESSOR = Path("/proc/cpuinfo")
_DTYPES = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}
_LOG_ERRORS_ONLY = 3


class OnnxRuntimeEngine:
    """Runs an .onnx file with onnxruntime, on the CPU."""

    name = "onnxruntime"

    def __init__(self, content: bytes, where: str, spec: ModelSpec, threads: int | None) -> None:
        import onnxruntime

        check_input_contract(spec, where)
        self._where = where
        self.version = onnxruntime.__version__
        self.settings: dict[str, str | int] = {} if threads is None else {"threads": threads}
        options = self._options(onnxruntime, threads)
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own exception classes share no base below Exception
            raise ModelError(f"{where}: onnxruntime {self.version} cannot load it: {one_line(error)}") from error
        self._input, *self._outputs = spec.tensors
        _check(self._session.get_inputs(), [self._input], where)
        _check(self._session.get_outputs(), self._outputs, where)

    def _options(self, onnxruntime: Any, threads: int | None) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        if platform.machine() in _X64_MACHINES:
            precise, reason = needs_precision(_read_processor())
            if precise:
                options.add_session_config_entry(_X64_PRECISION, "1")
            self.settings |= {_X64_PRECISION: str(int(precise)), f"{_X64_PRECISION}.reason": reason}
        return options

    def run(self, image_u8: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        feed = {self._input.name: encode_input(image_u8, self._input)}
        try:
            stored = self._session.run([tensor.name for tensor in self._outputs], feed)
        except Exception as error:  # as above
            raise ModelError(f"{self._where}: onnxruntime {self.version} cannot run it: {one_line(error)}") from error
        return {tensor.name: decode_output(value, tensor) for tensor, value in zip(self._outputs, stored, strict=True)}


def needs_precision(cpuinfo: str) -> tuple[bool, str]:
    """Whether int8 sums have to be kept from saturating on this x86 processor, and why.

    Args:
        cpuinfo: as Linux tells in /proc/cpuinfo; empty where it cannot be read.
    """
    flags = [set(line.partition(":")[2].split()) for line in cpuinfo.splitlines() if line.startswith("flags")]
    if not flags:
        return True, "the processor's flags cannot be read"
    # A system may have cores of two kinds: the slow way holds for all as soon as one of them needs it.
    if all(each & _VNNI_FLAGS for each in flags):
        return False, "the processor has VNNI"
    return True, "the processor has no VNNI"


def _read_processor() -> str:
    try:
        return _PROCESSOR.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _check(details: list[Any], expected: list[Tensor], where: str) -> None:
    found = {detail.name: _DTYPES.get(detail.type, detail.type) for detail in details}
    for tensor in expected:
        if tensor.name not in found:
            raise ModelError(f"{where}: has no tensor {tensor.name!r}, only {sorted(found)}; export it again")
        # The format keeps scales inside the graph, not beside its inputs: 0.0 stands for "not told".
        check_tensor(tensor, found[tensor.name], 0.0, 0, where)
