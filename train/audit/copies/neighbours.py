"""Which images may be copies of one another: a nearest-neighbour graph instead of all pairs."""

from __future__ import annotations

import importlib
import itertools
import mmap
import threading
import weakref
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DependencyError, StorageError
from edge_runtime.whole_files import whole_file
from train.audit.copies.fingerprint import CENTRED, DIMENSIONS, DISCS
from train.audit.workers import THREADS, Workers

Ints = NDArray[np.integer[Any]]

PER_IMAGE = 14  # other images that each image is compared with, at most
_PER_QUERY = 24  # fingerprints asked of the index: copies and their discs crowd the first places
_ASKING = (0, 2, *range(len(CENTRED), len(DISCS)))  # discs that ask; all centred ones answer, so all ratios are met
_IMAGES_A_CHUNK = 2048  # that ask at a time
_VIEWS_A_READ = 8192
# Fingerprints in one index that are kept as whole floats; more are halved, so that a million images fit into 6 GB. Half
# floats turned 565 groups of multiregion into 564.
_WHOLE_FLOATS_MOST = 1_000_000
INDEX_BYTES = 900 * len(CENTRED)  # of one view, in an index of whole floats
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 64, 64


@dataclass(frozen=True)
class Candidates:
    """n pairs of views that may show one radiograph; a pair of images occurs once."""

    first: Ints  # (n,) view that asked
    first_disc: Ints  # (n,) its disc, index into DISCS
    second: Ints  # (n,) view found
    second_disc: Ints  # (n,) its disc
    rank: Ints  # (n,) 0: the nearest neighbour of either image, 1: the second, ...


class Described(Protocol):
    """The fingerprints of n views, from wherever they are kept."""

    owners: NDArray[np.int32]  # (n,) image of each view, ascending

    def __len__(self) -> int: ...

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Of consecutive views, float32 (stop - start, discs, dimensions), unit length."""


def find_candidates(views: Described, folder: Path, workers: Workers = THREADS) -> Candidates:
    """Candidate pairs among n views, in n log n time where all answer from one index.

    Args:
        views: what is searched.
        folder: indexes are written here, and stay.
        workers: each builds an index, or asks all indexes for some images, at a time.

    Raises:
        DependencyError: the nearest-neighbour library is not installed.
        StorageError: an index cannot be written.
    """
    shard_views = max(1, workers.in_one_index(len(views) * len(CENTRED)) // len(CENTRED))
    shards = [
        (folder / f"index-{number:05d}", start, min(start + shard_views, len(views)))
        for number, start in enumerate(range(0, len(views), shard_views))
    ]
    indexes = list(workers.map(partial(_write_index, views), shards))
    # An image's views stay together, so a chunk ranks its own answers: all of them at once would fill the memory.
    bounds = [*np.flatnonzero(_firsts(views.owners))[::_IMAGES_A_CHUNK].tolist(), len(views)]
    chunks = list(workers.map(partial(_nearest, views, indexes), list(itertools.pairwise(bounds))))
    return _rank(_Matches(views.owners, *(np.concatenate(column) for column in zip(*chunks, strict=True))))


def _nearest(views: Described, indexes: list[Path], chunk: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    """Columns of _Matches: the nearest PER_IMAGE others of each image that owns these views, nearest first."""
    start, stop = chunk
    vectors = views.vectors(start, stop)
    wanted = min(_PER_QUERY, len(views) * len(CENTRED))
    opened = [_open_index(path) for path in indexes]
    asking, asking_disc, keys, distances = _ask(opened, vectors, wanted)
    answering = len(CENTRED)
    matches = _Matches(views.owners, asking + start, asking_disc, keys // answering, keys % answering, distances)
    nearest = matches.other_images().nearest_of_each_pair()
    nearest = nearest.take(_place(nearest.images[0]) < PER_IMAGE)
    # Narrow numbers: of a million images there are 14 million rows.
    whole = (nearest.first.astype(np.int32), nearest.first_disc.astype(np.int8))
    return *whole, nearest.second.astype(np.int32), nearest.second_disc.astype(np.int8), nearest.distance


def _place(sorted_keys: Ints) -> NDArray[np.int64]:
    """Of each row its place, from 0, among the rows of its key."""
    places = np.arange(len(sorted_keys))
    return places - np.maximum.accumulate(np.where(_firsts(sorted_keys), places, 0))


def _ask(indexes: list[Any], vectors: NDArray[np.float32], wanted: int) -> tuple[NDArray[Any], ...]:
    """(view, disc, key found, distance) of the nearest answers of all indexes to the asking discs of all views."""
    # The discs of one view ask one after the other: the same part of the graph answers them, which then lies in the
    # processor's cache. Disc by disc, the search took 2.3 times as long among 200,000 fingerprints.
    questions = vectors[:, _ASKING].reshape(-1, DIMENSIONS)
    answers = [_search(index, questions, wanted) for index in indexes]
    keys, distances = (np.concatenate(column, axis=1) for column in zip(*answers, strict=True))
    if len(indexes) > 1:
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :wanted]
        keys, distances = (np.take_along_axis(values, nearest, axis=1) for values in (keys, distances))
    asked, places = np.nonzero(np.isfinite(distances))
    views, discs = np.divmod(asked, len(_ASKING))
    return views, np.array(_ASKING)[discs], keys[asked, places], distances[asked, places]


def _search(index: Any, questions: NDArray[np.float32], wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(keys, distances) of the nearest, (questions, wanted) each; infinitely far where there are fewer."""
    found = index.search(questions, wanted, threads=1)
    keys, distances = np.asarray(found.keys, np.int64), np.array(found.distances, np.float32)
    distances[np.arange(keys.shape[1]) >= np.asarray(found.counts)[:, None]] = np.inf
    short = ((0, 0), (0, wanted - keys.shape[1]))
    return np.pad(keys, short), np.pad(distances, short, constant_values=np.inf)


@dataclass(frozen=True)
class _Matches:
    """Answers of the index, as columns."""

    owners: Ints  # (views,) image of each view
    first: Ints  # (n,) view that asked
    first_disc: Ints  # (n,)
    second: Ints  # (n,) view found
    second_disc: Ints  # (n,)
    distance: NDArray[np.float32]  # (n,) 0: the same

    @property
    def images(self) -> tuple[Ints, Ints]:
        """Image that asked and image found, (n,) each."""
        return self.owners[self.first], self.owners[self.second]

    def take(self, chosen: NDArray[Any]) -> _Matches:
        columns = (self.first, self.first_disc, self.second, self.second_disc, self.distance)
        return _Matches(self.owners, *(column[chosen] for column in columns))

    def other_images(self) -> _Matches:
        """Without those of an image with itself."""
        asking, found = self.images
        return self.take(asking != found)

    def nearest_of_each_pair(self) -> _Matches:
        """The nearest match of each image with each other, nearest first for each asking image."""
        asking, found = self.images
        # Ties are broken by the views, so that the order of the answers changes nothing.
        by_pair = np.lexsort((self.second_disc, self.second, self.first_disc, self.first, self.distance, found, asking))
        nearest = self.take(by_pair[_firsts(asking[by_pair], found[by_pair])])
        asking, found = nearest.images
        return nearest.take(np.lexsort((found, nearest.distance, asking)))


def _firsts(*sorted_keys: Ints) -> NDArray[np.bool_]:
    """Whether each row of sorted columns differs from the one before, bool (n,)."""
    first = np.ones(len(sorted_keys[0]), bool)
    if len(first):
        first[1:] = np.any([key[1:] != key[:-1] for key in sorted_keys], axis=0)
    return first


def build_index(views: Described, start: int, stop: int) -> Any:
    """A usearch index of the answering discs of consecutive views; disc d of view v has the key v * len(CENTRED) + d.

    Raises:
        DependencyError: usearch is not installed.
    """
    index = _usearch().Index(
        ndim=DIMENSIONS,
        metric="ip",
        dtype="f32" if (stop - start) * len(CENTRED) <= _WHOLE_FLOATS_MOST else "f16",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=_EXPANSION_SEARCH,
    )
    for first in range(start, stop, _VIEWS_A_READ):
        last = min(first + _VIEWS_A_READ, stop)
        vectors = views.vectors(first, last)[:, : len(CENTRED)].reshape(-1, DIMENSIONS)
        # One thread: with two the graph, and so the result, would differ from run to run.
        index.add(np.arange(first * len(CENTRED), last * len(CENTRED)), np.ascontiguousarray(vectors), threads=1)
    return index


def _write_index(views: Described, shard: tuple[Path, int, int]) -> Path:
    path, start, stop = shard
    index = build_index(views, start, stop)
    try:
        with whole_file(path, durable=False) as draft:
            index.save(str(draft))
    except (OSError, RuntimeError) as error:  # the library tells of a full disk as of a fault at run time
        raise StorageError(f"{path}: cannot be written: {error}") from error
    return path


def _open_index(path: Path) -> Any:
    """The index in a file, mapped and not read; each thread has its own, for a search is no matter of two threads."""
    opened: dict[Path, tuple[mmap.mmap, Any]] = vars(_OPENED).setdefault("indexes", {})
    if path not in opened:
        mapping = _map(path)
        index = _usearch().Index.restore(mapping, view=True)
        index.expansion_search = _EXPANSION_SEARCH  # which a file does not hold
        opened[path] = (mapping, index)
    return opened[path][1]


def _map(path: Path) -> mmap.mmap:
    """A file in memory, one mapping for all threads: a page counts as often as it is mapped."""
    with _MAPPING:
        mapping = _MAPPED.get(path)
        if mapping is None:
            with path.open("rb") as stream:
                mapping = _MAPPED[path] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return mapping


_OPENED = threading.local()
_MAPPED: weakref.WeakValueDictionary[Path, mmap.mmap] = weakref.WeakValueDictionary()  # as long as a thread has it open
_MAPPING = threading.Lock()


def _usearch() -> Any:
    try:
        return importlib.import_module("usearch.index")
    except ImportError as error:
        raise DependencyError("pip install usearch") from error


def _rank(matches: _Matches) -> Candidates:
    """Matches of each image in a row, nearest first; a pair that both ends found is kept once, at its better rank."""
    asking, found = matches.images
    rank = _place(asking)
    low, high = np.minimum(asking, found), np.maximum(asking, found)
    order = np.lexsort((asking, rank, high, low))
    near = order[_firsts(low[order], high[order])]
    near = near[np.lexsort((asking[near], matches.distance[near], rank[near]))]
    kept = matches.take(near)
    return Candidates(kept.first, kept.first_disc, kept.second, kept.second_disc, rank[near].astype(np.int8))
