"""What was worked out before: small JSON files in the user's cache folder, found by content, written aside and renamed.

A cache that cannot be read or written costs time and nothing else, so it never raises.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL

from edge_runtime.drafts import scratch_folder
from edge_runtime.errors import StorageError
from edge_runtime.images import DECODING_VERSION
from edge_runtime.whole_files import write_whole

ALGORITHM_VERSION = 7  # of fingerprints and comparison: raise it, and old entries are not found any more
# Whoever decodes otherwise, our rules or another Pillow, makes entries of its own.
DECODING = f"decoding {DECODING_VERSION}, Pillow {PIL.__version__}"


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/fracture-edge`, by default below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fracture-edge"


def load(kind: str, key: str) -> Any | None:
    """What was stored under a kind of entry and a key; None: nothing, or nothing readable."""
    try:
        return json.loads(_path(kind, key).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def store(kind: str, key: str, value: Any) -> None:
    """Stores plain JSON types under a kind of entry and a key."""
    path = _path(kind, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a power cut leaves of it is not JSON, and made anew: not worth waiting for the disk.
        write_whole(path, json.dumps(value), durable=False)


@contextlib.contextmanager
def work_folder(purpose: str, least_bytes: int) -> Iterator[Path]:
    """A folder for what does not fit into memory, until the block ends; what killed processes left goes first.

    It lies in the cache, for the system's folder of temporary files may itself be memory; there only where the cache
    cannot be written.

    Raises:
        StorageError: less space is free than is needed.
    """
    place = (cache_folder() / "audit").absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        pass
    if not os.access(place, os.W_OK | os.X_OK) or not place.is_dir():
        place = Path(tempfile.gettempdir())
    with scratch_folder(purpose, place) as folder:
        free = shutil.disk_usage(folder).free
        if free < least_bytes:
            raise StorageError(
                f"{place}: {least_bytes / 1e9:.1f} GB are needed for views of the images, {free / 1e9:.1f} GB are free;"
                " name another folder in XDG_CACHE_HOME"
            )
        yield folder


def _path(kind: str, key: str) -> Path:
    digest = hashlib.sha256(f"{ALGORITHM_VERSION} {DECODING}\n{key}".encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / "audit" / f"{kind}-{digest[:32]}.json"
