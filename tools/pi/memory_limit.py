"""A limit on the memory of a process and all that it starts, kept by the kernel: beyond it the process is killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# version -> (folder of groups, file of the limit, of the highest use, of the limit with swap)
_FILES = {
    "cgroup v1": (
        _ROOT / "memory",
        "memory.limit_in_bytes",
        "memory.max_usage_in_bytes",
        "memory.memsw.limit_in_bytes",
    ),
    "cgroup v2": (_ROOT, "memory.max", "memory.peak", "memory.swap.max"),
}


class LimitNotToBeHad(Exception):
    """This machine lets nobody limit memory, or not us."""


class MemoryLimit:
    """A control group of its own, gone at the end.

    Args:
        megabytes: of memory, all processes of the group and the files that they map together.

    Raises:
        LimitNotToBeHad: with the reason.
    """

    def __init__(self, megabytes: int) -> None:
        self.kind = next((kind for kind, (folder, *_) in _FILES.items() if (folder / "cgroup.procs").exists()), "")
        if not self.kind:
            raise LimitNotToBeHad("no control groups are mounted")
        folder, limit, self._peak, swap = _FILES[self.kind]
        self._group = folder / f"fracture-edge-{uuid.uuid4().hex[:8]}"
        try:
            self._group.mkdir()
            (self._group / limit).write_text(str(megabytes << 20))
        except OSError as error:
            raise LimitNotToBeHad(f"{self.kind} cannot be written: {error}") from error
        if (self._group / swap).exists():
            (self._group / swap).write_text("0" if self.kind.endswith("2") else str(megabytes << 20))

    def join(self) -> Callable[[], None]:
        """What a new process calls to come under the limit."""
        procs = self._group / "cgroup.procs"
        return lambda: procs.write_text(str(os.getpid()))

    @property
    def peak_mb(self) -> float:
        """The most that was in use."""
        return int((self._group / self._peak).read_text()) / 1e6

    def __enter__(self) -> MemoryLimit:
        return self

    def __exit__(self, *_: object) -> None:
        self._group.rmdir()
