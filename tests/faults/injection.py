"""Fails, or ends, a process at the n-th operation that changes the disk: write, fsync, rename, mkdir, unlink and so on.

A child is forked from this process, so that what the writers need is imported once. In the child every such operation
is counted, and the chosen one is not carried out: the process is killed there as by a power cut, or the system refuses.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from edge_runtime import whole_files
from edge_runtime.errors import EdgeError

KILL, REFUSE, FULL = "kill", "refuse", "full"  # at the operation; FULL: every one that needs room, from there on
FAULTS = (KILL, REFUSE, FULL)
DONE, REFUSED, BROKEN = 0, 6, 70  # what a child ends with: a clean end, a clear error, anything else

_COUNTED = ("write", "pwrite", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "link", "ftruncate")
_NEED_NO_ROOM = frozenset({"unlink", "rmdir", "ftruncate"})


class Fault:
    """What happens at which operation, and how many there were.

    Args:
        number: of the operation, from 1; 0: none.
        kind: one of FAULTS.
    """

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind, self.count = number, kind, 0

    def strikes(self, operation: str) -> bool:
        """Whether the operation that is about to happen is to be refused; it may be the process' last."""
        self.count += 1
        if not self.number or self.count < self.number:
            return False
        if self.kind == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation not in _NEED_NO_ROOM if self.kind == FULL else self.count == self.number

    def error(self) -> OSError:
        number = errno.ENOSPC if self.kind == FULL else errno.EIO
        return OSError(number, os.strerror(number))


def install(fault: Fault) -> None:
    """Counts, in this process and for good, everything that changes the disk."""
    for name in _COUNTED:
        setattr(os, name, _counted(fault, name, getattr(os, name)))
    whole_files.exchange = _counted(fault, "rename", whole_files.exchange)
    plain_open = builtins.open

    class Raw(io.FileIO):
        """A file whose every write counts; without a number, so that nobody writes past it."""

        def write(self, data) -> int:
            if fault.strikes("write"):
                super().write(bytes(data)[: len(data) // 2])  # as much as there was room for
                raise fault.error()
            return super().write(data)

        def fileno(self) -> int:
            raise io.UnsupportedOperation("fileno")

    def counting_open(
        file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None
    ):
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return plain_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Raw(file, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    builtins.open = io.open = counting_open


def _counted(fault: Fault, name: str, function: Callable) -> Callable:
    def counted(*arguments, **options):
        if fault.strikes(name):
            raise fault.error()
        return function(*arguments, **options)

    return counted


def in_child(act: Callable[[], None], fault: Fault, report: Path | None = None) -> int:
    """How a child ended that did something with a fault: DONE, REFUSED, BROKEN, or minus the signal.

    Args:
        act: what to do.
        fault: that is installed first.
        report: file for the number of operations, where wanted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        os._exit(_act(act, fault, report))
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def _act(act: Callable[[], None], fault: Fault, report: Path | None) -> int:
    descriptor = -1 if report is None else os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    write = os.write
    try:
        install(fault)
        act()
        if report is not None:
            write(descriptor, str(fault.count).encode())
        return DONE
    except (EdgeError, OSError):
        return REFUSED
    except BaseException:
        traceback.print_exc()
        return BROKEN


def count_operations(act: Callable[[], None], report: Path) -> int:
    """How many operations a run without a fault makes."""
    ended = in_child(act, Fault(0, KILL), report)
    if ended != DONE:
        raise RuntimeError(f"a run without a fault ended with {ended}")
    return int(report.read_text())
