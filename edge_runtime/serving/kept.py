"""Images that were answered, kept to be looked at again where that is asked for, and removed by age and size.

They lie beside the store, mode 0600, under the number of their item alone, and that of the store: after a new one has
been begun, nobody sees an image under another's answer. Those of a watched folder are not copied: they lie there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.drafts import clear_drafts
from edge_runtime.errors import StorageError
from edge_runtime.serving.store import Store
from edge_runtime.whole_files import whole_file

_SUFFIX = ".image"
_AGAIN_S = 600.0  # between two looks at what has grown too old
_DAY_S = 86_400.0


@dataclass(frozen=True)
class KeepSettings:
    """How long images are kept."""

    days: float  # after their answer
    bytes: int  # of all together: the oldest go first


class Kept(threading.Thread):
    """The folder of kept images, and the thread that removes what is too old.

    Args:
        store: of the items; the folder `kept` beside it is made where it is missing, mode 0700.
        settings: how long they are kept.
        tell: for a line to the log.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(self, store: Store, settings: KeepSettings, tell: Callable[[str], None]) -> None:
        super().__init__(name="kept images", daemon=True)
        self._folder, self._mark = store.path.parent / "kept", f"{store.device()}-"
        self._settings, self._tell = settings, tell
        self._ending, self._lock, self._told = threading.Event(), threading.Lock(), False
        self._room = 0  # bytes that may still come until the oldest have to go
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._folder}: cannot be made: {error.strerror}") from error
        clear_drafts(self._folder)
        self.purge()

    def run(self) -> None:
        while not self._ending.wait(_AGAIN_S):
            self.purge()

    def stop(self) -> None:
        """Ends; images stay until they are too old."""
        self._ending.set()
        self.join()

    def keep(self, item: int, content: bytes) -> None:
        """Keeps the image of an item; where that cannot be, the log says so, once."""
        try:
            with whole_file(self._path(item), durable=False) as draft:
                draft.chmod(0o600)
                draft.write_bytes(content)
        except OSError as error:
            if not self._told:
                self._tell(f"{self._folder}: images cannot be kept: {error.strerror}")
            self._told = True
            return
        self._told = False
        with self._lock:
            self._room -= len(content)
        if self._room < 0:
            self.purge()

    def content(self, item: int) -> bytes | None:
        """The image of an item; None where it is not kept."""
        with contextlib.suppress(OSError):
            return self._path(item).read_bytes()
        return None

    def numbers(self) -> frozenset[int]:
        """The items whose images are kept."""
        paths = self._folder.glob(f"{self._mark}*{_SUFFIX}")
        return frozenset(int(path.name[len(self._mark) : -len(_SUFFIX)]) for path in paths)

    def purge(self) -> None:
        """Removes what is too old, and the oldest where all together are too large."""
        now, held = time.time(), 0
        with self._lock, contextlib.suppress(OSError):  # removed meanwhile: the next look finds the rest
            found = [(path.stat(), path) for path in self._folder.glob(f"*{_SUFFIX}")]
            for status, path in sorted(found, key=lambda one: (one[0].st_mtime, one[1].name), reverse=True):
                is_old = status.st_mtime < now - self._settings.days * _DAY_S
                if is_old or held + status.st_size > self._settings.bytes:
                    path.unlink(missing_ok=True)
                else:
                    held += status.st_size
            self._room = self._settings.bytes - held

    def _path(self, item: int) -> Path:
        return self._folder / f"{self._mark}{item}{_SUFFIX}"
