"""tflite-runtime 2.14, the last of its line: the only engine for 32-bit ARM. It needs Python 3.11 and numpy below 2."""

from __future__ import annotations

from edge_runtime.engines.tflite_file import TFLiteFileEngine
from edge_runtime.spec import ModelSpec


class TFLiteRuntimeEngine(TFLiteFileEngine):
    """Runs a .tflite file with tflite-runtime."""

    name = "tflite-runtime"

    def __init__(self, content: bytes, where: str, spec: ModelSpec, threads: int | None) -> None:
        import tflite_runtime
        from tflite_runtime.interpreter import Interpreter

        super().__init__(Interpreter, tflite_runtime.__version__, content, where, spec, threads)
