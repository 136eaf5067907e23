"""Eight bytes a file: all that the watcher remembers of the files it has judged.

A set of Python integers takes about a hundred bytes each; a sorted array takes eight, so that years of images fit
into a small machine. Of 10,000 files two share a fingerprint with a probability of 3e-12.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_BYTES = 8
_UNSIGNED_64_BITS = "Q"


def fingerprint(path: str, size: int, modified_us: int) -> int:
    """64 bits that stand for one version of a file.

    Args:
        path: absolute; names that are not valid text as Python represents them.
        size: bytes.
        modified_us: time of the last change, microseconds since 1970.
    """
    digest = hashlib.blake2b(f"{size} {modified_us} ".encode() + os.fsencode(path), digest_size=_BYTES)
    return int.from_bytes(digest.digest(), "little")


class Fingerprints:
    """A set of fingerprints."""

    def __init__(self, members: Iterable[int] = ()) -> None:
        self._sorted = array(_UNSIGNED_64_BITS, sorted(set(members)))

    def __len__(self) -> int:
        return len(self._sorted)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sorted)

    def __contains__(self, member: int) -> bool:
        at = bisect_left(self._sorted, member)
        return at < len(self._sorted) and self._sorted[at] == member

    def add(self, member: int) -> None:
        """Puts a fingerprint in; once is enough."""
        at = bisect_left(self._sorted, member)
        if at == len(self._sorted) or self._sorted[at] != member:
            self._sorted.insert(at, member)
