"""Loads a model in a child process first: engines crash on crafted files, and a crash answers nobody.

A hash inside a file, or in a manifest beside it, was written by whoever wrote the file. What counts is that this engine
ran these very bytes on this machine before, which a mark in the user's cache tells; so a model is probed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge_runtime.engines import open_engine, package_of
from edge_runtime.errors import EdgeError, ModelError
from edge_runtime.spec import ModelSpec

_LONGEST_IMPORT_S = 120  # a Raspberry Pi 3 imports ONNX Runtime within 5
_LEAST_S = 4.0  # for loading and one run; and, where that is more, so many times as long as the engine's import took,
_IMPORTS = 8  # which tells how fast the machine is
_MEMORY_BYTES = 300 << 20  # that a child may take as data, and for each byte of the model:
_MEMORY_FACTOR = 6
_SPEC_BYTES = 8  # of the number that says how long the spec is


def probe_once(content: bytes, fingerprint: str, path: Path, spec: ModelSpec, engine: str) -> None:
    """Runs a model in a child process, unless this engine ran the same bytes on this machine before.

    Args:
        content: the bytes of the file.
        fingerprint: that no other bytes have.
        path: of the file, for messages and its suffix.
        spec: with the tensors of this file.
        engine: name of the engine.

    Raises:
        ModelError: the engine refuses it, crashes on it, takes too long or too much memory.
        DependencyError: the engine cannot be imported.
    """
    mark = _mark_of(fingerprint, engine)
    if mark is not None and mark.exists():
        return
    _probe(content, path, spec, engine)
    if mark is not None:
        with contextlib.suppress(OSError):  # a service may write nowhere: it probes at each start
            mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mark.touch()


def _mark_of(fingerprint: str, engine: str) -> Path | None:
    """The empty file that stands for these bytes and this build of the engine; None: there is no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
        found = importlib.util.find_spec(package_of(engine))
        built = os.stat(found.origin).st_mtime_ns if found is not None and found.origin else 0
    except (RuntimeError, OSError):
        return None
    name = hashlib.sha256(f"{fingerprint} {engine} {built}".encode()).hexdigest()
    return folder / "fracture-edge" / "probed" / name


def _probe(content: bytes, path: Path, spec: ModelSpec, engine: str) -> None:
    text = spec.to_json().encode()
    # -P: the current folder, which may hold anything, is no place to import from.
    command = [sys.executable, "-P", "-m", "edge_runtime.engines.probe", engine, os.fspath(path)]
    message = len(text).to_bytes(_SPEC_BYTES, "big") + text + content
    try:
        done = subprocess.run(command, input=message, capture_output=True, timeout=_LONGEST_IMPORT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path}: {engine} is not imported after {_LONGEST_IMPORT_S} s") from error
    if done.returncode == -signal.SIGALRM:
        raise ModelError(f"{path}: {engine} is not done with it in many times the usual time: it is damaged")
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip()
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise ModelError(said or f"{path}: {engine} crashes on it ({ended}): it is damaged")


def run_child(engine: str, path: Path) -> int:
    """What the child does with the spec and the model on its standard input; its exit code, and why on its output."""
    received = sys.stdin.buffer.read()
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines print there, and only our word may reach the parent
    start = _SPEC_BYTES + int.from_bytes(received[:_SPEC_BYTES], "big")
    spec, content = ModelSpec.from_json(received[_SPEC_BYTES:start]), received[start:]
    _limit_memory(len(content))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    begin = time.perf_counter()
    try:
        import numpy as np

        importlib.import_module(package_of(engine))
        # The signal ends the process wherever it is: no handler, for native code would never let one run.
        signal.setitimer(signal.ITIMER_REAL, max(_LEAST_S, _IMPORTS * (time.perf_counter() - begin)))
        opened = open_engine(path, spec, engine, 1, content)
        opened.run(np.zeros((spec.size, spec.size), np.uint8))
    except EdgeError as error:
        print(error, file=ours, flush=True)
        return error.exit_code
    except MemoryError:
        message = f"{path}: {engine} needs more memory for it than a model of its size can need: it is damaged"
        print(message, file=ours, flush=True)
        return ModelError.exit_code
    except ImportError:
        return 0  # the parent will find out, and say what to install
    return 0


def _limit_memory(model_bytes: int) -> None:
    limit = _MEMORY_BYTES + _MEMORY_FACTOR * model_bytes
    with contextlib.suppress(OSError, ValueError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1], Path(sys.argv[2])))
