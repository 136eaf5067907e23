"""LiteRT (package ai-edge-litert), the successor of tflite-runtime: x86-64 and 64-bit ARM.

`Interpreter` and not `CompiledModel`: the latter ends the process on a truncated file.
"""

from __future__ import annotations

from edge_runtime.engines.tflite_file import TFLiteFileEngine
from edge_runtime.spec import ModelSpec


class LiteRTEngine(TFLiteFileEngine):
    """Runs a .tflite file with ai-edge-litert."""

    name = "litert"

    def __init__(self, content: bytes, where: str, spec: ModelSpec, threads: int | None) -> None:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        super().__init__(Interpreter, ai_edge_litert.__version__, content, where, spec, threads)
