"""Decoding in a process of its own, for a library that ends its process on some damaged files (gdcm: SIGABRT).

The child is a fork: starting Python and importing again would take longer than decoding. It decodes, writes and ends,
and touches nothing that a thread of the parent may have held.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATIENCE_S = 60.0  # of a Raspberry Pi with the largest frame that is allowed, several times over
_COMPLAINT = b"Corrupt"  # what the JPEG library inside says of damage that it covers up
_CHUNK = 1 << 20  # bytes


def decode_apart(decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What decode returns, computed in a child process.

    Raises:
        ValueError: the child was killed, took too long, raised, or complained of damage.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(decode, writing)
    os.close(writing)
    try:
        answer = _read_all(reading, child)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if status != 0 or not answer:
        raise ValueError("the decoder failed")
    end = answer.index(b"\n")
    facts = json.loads(answer[:end])
    return np.frombuffer(answer, facts["dtype"], offset=end + 1).reshape(facts["shape"])


def _run(decode: Callable[[], NDArray[Any]], writing: int) -> None:
    """The child: never returns."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()  # an abort is expected here: no traceback, even where the parent asked for one
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        said = os.memfd_create("said")
        os.dup2(said, 2)
        pixels = np.ascontiguousarray(decode())
        if _COMPLAINT not in os.pread(said, _CHUNK, 0):
            head = json.dumps({"dtype": pixels.dtype.str, "shape": pixels.shape}).encode() + b"\n"
            with open(writing, "wb", closefd=False) as stream:
                stream.write(head)
                stream.write(pixels.data)
            code = 0
    finally:
        os._exit(code)  # without the parent's exit handlers


def _read_all(reading: int, child: int) -> bytearray:
    """All that the child wrote; nothing where it took too long, and was killed."""
    end, answer = time.monotonic() + PATIENCE_S, bytearray()
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            return bytearray()
        piece = os.read(reading, _CHUNK)
        if not piece:
            return answer
        answer += piece
