"""SHA-256 of files, which is how all of them are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK_BYTES = 1 << 22  # large, since each costs a wait for Python's lock where another thread imports


def sha256_of(path: Path, length: int | None = None) -> str:
    """Hexadecimal SHA-256 of the first `length` bytes of a file, of all without it, read in blocks."""
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
