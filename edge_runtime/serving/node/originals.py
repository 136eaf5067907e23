"""Instances that wait for their answer: on the disk before their sender hears of success, and gone once answered.

A file says that an instance was received; its row in the store says what became of it. The file comes first and goes
last, so that a kill between any two steps leaves a file without an answer, which the next start judges, or an answer
with a file, which the next start removes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_runtime.drafts import clear_drafts
from edge_runtime.errors import StorageError
from edge_runtime.serving.store import WAITING, Item, Store
from edge_runtime.whole_files import write_whole

SOURCE = "dicom"
LEAST_FREE_BYTES = 256 << 20  # that have to stay free on the disk
_SUFFIX = ".dcm"

Identify = Callable[[bytes], dict[str, Any] | None]


class DiskFull(Exception):
    """Nothing more is taken in just now."""


class Originals:
    """The folder of instances that wait, and their rows.

    Args:
        store: where rows are.
        identify: what may be shown of an instance, from its file.
    """

    def __init__(self, store: Store, identify: Identify) -> None:
        self._store, self._identify = store, identify
        self.folder = store.path.parent / "originals"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be made: {error.strerror}") from error

    def recover(self) -> int:
        """Brings folder and rows together after a kill; how many instances wait."""
        clear_drafts(self.folder)
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if self._store.state_of(_key(path.stem)) is None:
                self._store.add(SOURCE, _today(), _key(path.stem), self._identify(path.read_bytes()))
            self._remove_if_answered(path)
        return self._store.count_waiting(SOURCE)

    def take(self, instance_uid: str, content: bytes) -> bool:
        """Keeps an instance, once: on return it is on the disk. Whether it is a new one.

        Args:
            instance_uid: its SOP Instance UID, by which it is known when it comes again.
            content: of the file.

        Raises:
            DiskFull: there is no room.
            StorageError, OSError: it cannot be kept.
        """
        name = hashlib.sha256(instance_uid.encode()).hexdigest()  # the store holds no number that leads to a patient
        state, path = self._store.state_of(_key(name)), self.folder / f"{name}{_SUFFIX}"
        if state is not None and (state != WAITING or path.exists()):
            return False
        if shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES + len(content):
            raise DiskFull
        write_whole(path, content)
        path.chmod(0o600)
        is_new = self._store.add(SOURCE, _today(), _key(name), self._identify(content)) is not None
        self._remove_if_answered(path)  # where the same instance came twice at once
        return is_new

    def next(self) -> tuple[Item, Path] | None:
        """The instance that has waited longest, and its file; None where none waits."""
        item = self._store.next_waiting(SOURCE)
        if item is None:
            return None
        name = (item.key or "").partition(":")[2]
        return item, self.folder / f"{name}{_SUFFIX}"

    def begin(self, item: Item) -> int:
        """How often this instance has been begun, this time included."""
        return self._store.begin(item.id)

    def finish(self, item: Item, path: Path, record: dict[str, Any]) -> None:
        """Keeps the answer, on the disk, and only then lets the instance go."""
        self._store.finish(item.id, record, durable=True)
        path.unlink(missing_ok=True)

    def _remove_if_answered(self, path: Path) -> None:
        if self._store.state_of(_key(path.stem)) not in (None, WAITING):
            path.unlink(missing_ok=True)


def _key(name: str) -> str:
    return f"{SOURCE}:{name}"


def _today() -> str:
    return datetime.now().astimezone().date().isoformat()
