"""The work of an audit on Ray Data: it hands items to processes, starts processes again that died, repeats their items.

Nothing of that is done here. Views and indexes pass between processes as files in a folder that all of them see, by
Ray itself only what is small.
"""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edge_runtime.errors import EdgeError
from train.audit.workers import THREADS, Item, Result, Workers
from train.cluster import open_ray

ENGINES = (LOCAL, RAY) = ("local", "ray")
_SHARD_VECTORS = 500_000  # fingerprints: half a gigabyte, built in minutes
_SHARDS_MOST = 16  # each image asks all of them, so their number must not grow with the number of images
_BLOCKS_A_PROCESSOR = 4  # so that one that takes longer holds up little


class RayWorkers:
    """Processes of a cluster, or of this machine."""

    def __init__(self, ray: Any, shard_vectors: int = _SHARD_VECTORS) -> None:
        """Takes an opened Ray, and how many fingerprints an index holds before there is a second one."""
        self._ray, self._shard_vectors = ray, shard_vectors
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        self._blocks = _BLOCKS_A_PROCESSOR * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def in_one_index(self, vectors: int) -> int:
        """As `Workers.in_one_index`."""
        return max(self._shard_vectors, math.ceil(vectors / _SHARDS_MOST))

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """As `Workers.map`."""
        if not items:
            return
        rows = [{"item": pickle.dumps(item)} for item in items]
        dataset = self._ray.data.from_items(rows, override_num_blocks=min(len(rows), self._blocks))
        for row in dataset.map(lambda row: {"result": _result(function, row["item"])}).iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, EdgeError):
                raise result
            yield result


def _result(function: Callable[[Any], Any], item: bytes) -> bytes:
    """What a function made of an item, pickled; an error of ours too, for Ray Data hands on its text alone."""
    try:
        return pickle.dumps(function(pickle.loads(item)))
    except EdgeError as error:
        return pickle.dumps(error)


@contextlib.contextmanager
def workers_of(engine: str, address: str | None = None) -> Iterator[Workers]:
    """Workers of an engine, until the block ends.

    Args:
        engine: one of ENGINES.
        address: of a Ray cluster that runs; None starts Ray on this machine.

    Raises:
        DependencyError: Ray is not installed.
        StorageError: there is no cluster at that address.
    """
    if engine == LOCAL:
        yield THREADS
        return
    ray = open_ray(address)
    try:
        yield RayWorkers(ray)
    finally:
        ray.shutdown()
