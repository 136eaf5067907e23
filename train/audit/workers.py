"""Who does the work of an audit: threads of this process, or processes on a cluster (`train.audit.cluster_workers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 2  # decoding, hashing and the linear algebra release the interpreter lock


class Workers(Protocol):
    """Hands out work."""

    def in_one_index(self, vectors: int) -> int:
        """How many of so many fingerprints stand in one index, at most."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """The function of each item, in the items' order. Both may be pickled, and a call may be repeated."""


class Threads:
    """Threads of this process."""

    def in_one_index(self, vectors: int) -> int:
        """As `Workers.in_one_index`: all of them."""
        return vectors

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """As `Workers.map`."""
        with ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(function, items)


THREADS = Threads()
