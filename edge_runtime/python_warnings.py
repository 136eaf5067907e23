"""Python's warnings, off for a while: libraries warn of metadata that nothing here reads, and quote it."""

from __future__ import annotations

import threading
import warnings


class _WarningsOff:
    """Drops Python's warnings while any thread is inside.

    `warnings.catch_warnings` swaps a state of the whole process: threads that overlap would leave it swapped.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0  # threads

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings(action="ignore")
                self._before.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


warnings_off = _WarningsOff()
