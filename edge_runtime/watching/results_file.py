"""The results of a watched folder: one line of JSON an image, and the only memory of what was judged.

A line and the fact that its image was judged are one and the same, so that no crash can come between them. What a
power cut may leave is a last line without its end: such a line is completed where only the line feed is missing, and
removed otherwise. One process at a time may write; the lock goes with the process, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime.errors import StorageError

_LINE_START = b'{"path": '
_BLOCK_BYTES = 1 << 16
# A full disk, a quota, and the largest file that a file system (4 GB on FAT) or a limit allows.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ResultsFile:
    """An open and locked file of results, whole lines only.

    Attributes:
        repair: what was done to the last line, for people; empty where it was whole.

    Raises:
        StorageError: another process writes to it, it holds something else, or the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repair = ""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            self._lock()
            self._repair()
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"{path}: cannot be used: {error.strerror}") from error
        except StorageError:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Gives the file, and the lock on it, back."""
        os.close(self._descriptor)

    def records(self) -> Iterator[dict[str, Any]]:
        """The objects in the file, in order; what is no JSON object, as damage leaves it, is passed over."""
        with os.fdopen(os.dup(self._descriptor), "rb") as stream:
            stream.seek(0)
            for line in stream:
                record = _parsed(line)
                if record is not None:
                    yield record

    def append(self, line: bytes) -> bool:
        """Whether the line is on the disk; False where there is no room, and the file is as it was.

        Raises:
            StorageError: the file was removed, replaced or changed by another program, or the system refuses.
        """
        self._check_untouched()
        try:
            self._write(line)
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)  # no half line, and room for a whole one later
            if error.errno in _NO_ROOM:
                return False
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._size += len(line)
        return True

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise StorageError(f"{self.path}: results go to a file, which remembers what was judged; this is none")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"{self.path}: another edge-infer writes to it; give each its own --out") from error

    def _repair(self) -> None:
        self._size = os.fstat(self._descriptor).st_size
        start = self._start_of_last_line()
        rest = os.pread(self._descriptor, self._size - start, start)
        if os.pread(self._descriptor, 1, 0) not in (b"", b"{", b"\0") or not _is_ours(rest):
            raise StorageError(f"{self.path}: holds something other than results; give another --out")
        if not rest:
            _sync_folder(self.path)
            return
        if _parsed(rest) is not None:
            self._write(b"\n")
            self.repair = "the last line lacked its end, which was added"
        else:
            os.ftruncate(self._descriptor, start)
            os.fsync(self._descriptor)
            self.repair = f"the last line was cut short ({len(rest)} bytes) and was removed; its image is judged again"
        self._size = os.fstat(self._descriptor).st_size

    def _start_of_last_line(self) -> int:
        """Position behind the last line feed; the size where nothing follows it."""
        end = self._size
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            at = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
        return 0

    def _check_untouched(self) -> None:
        held = os.fstat(self._descriptor)
        try:
            named = os.stat(self.path)
        except FileNotFoundError as error:
            raise StorageError(f"{self.path}: was removed while in use; a new start judges all anew") from error
        if (held.st_dev, held.st_ino, held.st_size) != (named.st_dev, named.st_ino, self._size):
            raise StorageError(f"{self.path}: was changed by another program while in use; start again")


def _is_ours(rest: bytes) -> bool:
    """Whether this is the beginning of a line of ours, or the zeros that a power cut may leave in its place."""
    shared = min(len(rest), len(_LINE_START))
    return rest[:shared].rstrip(b"\0") == _LINE_START[: len(rest[:shared].rstrip(b"\0"))]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _sync_folder(path: Path) -> None:
    """Makes the name of a new file survive a power cut."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
