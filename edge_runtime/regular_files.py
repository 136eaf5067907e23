"""Opening regular files and nothing else: a pipe would keep us waiting for ever, and a device may do anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


class NotRegularError(Exception):
    """What lies there is no regular file; the text says what it is."""


def open_regular(path: Path) -> tuple[BinaryIO, int]:
    """A regular file to read, and its size in bytes.

    Raises:
        NotRegularError: a folder, pipe, device or socket.
        OSError, ValueError: as `os.open`.
    """
    # The kind first: opening a pipe waits for a writer, and opening a device may do something.
    _refuse_others(os.stat(path))
    # Not blocking, for it may have been replaced by a pipe meanwhile.
    stream = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        status = os.fstat(stream.fileno())
        _refuse_others(status)
    except NotRegularError:
        stream.close()
        raise
    return stream, status.st_size


def _refuse_others(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise NotRegularError(_KINDS.get(kind, "no regular file"))
