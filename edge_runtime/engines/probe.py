"""Loads a model in a child process first, where nobody vouches for it: engines crash on crafted files.

A file that a bundle's manifest lists was compared with the hash there. One file alone brings its hash itself, which
whoever altered the file wrote anew.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from edge_runtime.errors import EdgeError, ModelError
from edge_runtime.spec import ModelSpec

LONGEST_S = 30  # a Raspberry Pi 3 imports ONNX Runtime within 5
_MEMORY_BYTES = 350 << 20  # that a child may take as data, and for each byte of the model:
_MEMORY_FACTOR = 6
_SPEC_BYTES = 8  # of the number that says how long the spec is


def probe(content: bytes, path: Path, spec: ModelSpec, engine: str) -> None:
    """Runs a model once in a child process.

    Args:
        content: the bytes of the file.
        path: of the file, for messages and its suffix.
        spec: with the tensors of this file.
        engine: name of the engine.

    Raises:
        ModelError: the engine refuses it, crashes on it, takes too long or too much memory.
    """
    text = spec.to_json().encode()
    # -P: the current folder, which may hold anything, is no place to import from.
    command = [sys.executable, "-P", "-m", "edge_runtime.engines.probe", engine, os.fspath(path)]
    message = len(text).to_bytes(_SPEC_BYTES, "big") + text + content
    try:
        done = subprocess.run(command, input=message, capture_output=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path}: {engine} is not done with it after {LONGEST_S} s: it is damaged") from error
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise ModelError(said or f"{path}: {engine} crashes on it ({ended}): it is damaged")


def _run_child(engine: str, path: Path) -> int:
    received = sys.stdin.buffer.read()
    start = _SPEC_BYTES + int.from_bytes(received[:_SPEC_BYTES], "big")
    content = received[start:]
    with contextlib.suppress(OSError, ValueError):  # a lower limit is set already
        limit = _MEMORY_BYTES + _MEMORY_FACTOR * len(content)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    try:
        import numpy as np

        from edge_runtime.engines import open_engine

        spec = ModelSpec.from_json(received[_SPEC_BYTES:start])
        opened = open_engine(path, spec, engine, 1, content)
        opened.run(np.zeros((spec.size, spec.size), np.uint8))
    except EdgeError as error:
        print(error)
        return error.exit_code
    except MemoryError:
        print(f"{path}: {engine} needs more memory for it than a model of its size can need: it is damaged")
        return ModelError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_run_child(sys.argv[1], Path(sys.argv[2])))
