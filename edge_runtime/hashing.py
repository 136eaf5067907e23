"""SHA-256 of files, which is how all of them are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK_BYTES = 1 << 22  # large, since each costs a wait for Python's lock where another thread imports


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
