"""Which images may be copies of one another: a nearest-neighbour graph instead of all pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DependencyError
from train.audit.copies.fingerprint import CENTRED, DISCS

PER_IMAGE = 14  # other images that each image is compared with, at most
_PER_QUERY = 24  # fingerprints asked of the index: copies and their discs crowd the first places
_ASKING = (0, 2, *range(len(CENTRED), len(DISCS)))  # discs that ask; all centred ones answer, so all ratios are met
_IMAGES_A_CHUNK = 8192
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 16, 64, 64


@dataclass(frozen=True)
class Candidates:
    """n pairs of views that may show one radiograph; a pair of images occurs once."""

    first: NDArray[np.int64]  # (n,) view that asked
    first_disc: NDArray[np.int64]  # (n,) its disc, index into DISCS
    second: NDArray[np.int64]  # (n,) view found
    second_disc: NDArray[np.int64]  # (n,) its disc
    rank: NDArray[np.int64]  # (n,) 0: the nearest neighbour of either image, 1: the second, ...


def find_candidates(vectors: NDArray[np.float32], owners: NDArray[np.int64]) -> Candidates:
    """Candidate pairs among n views, in n log n time.

    Args:
        vectors: float32 (n, discs, dimensions), unit length.
        owners: int64 (n,), image of each view, ascending.
    """
    views, answering, dimensions = len(vectors), len(CENTRED), vectors.shape[2]
    index = build_index(vectors[:, :answering].reshape(-1, dimensions))
    wanted = min(_PER_QUERY, views * answering)
    # An image's views stay together, so a chunk ranks its own answers: all of them at once would fill the memory.
    bounds = [*np.flatnonzero(_firsts(owners))[::_IMAGES_A_CHUNK].tolist(), views]
    chunks = [
        _nearest(index, vectors, owners, slice(start, stop), wanted)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    return _rank(_Matches(owners, *(np.concatenate(column) for column in zip(*chunks, strict=True))))


def _nearest(
    index: Any, vectors: NDArray[np.float32], owners: NDArray[np.int64], views: slice, wanted: int
) -> tuple[NDArray[Any], ...]:
    """Columns of _Matches: the nearest PER_IMAGE others of each image that owns these views, nearest first."""
    found = [_ask(index, vectors[views], disc, wanted) for disc in _ASKING]
    asking, asking_disc, keys, distances = (np.concatenate(column) for column in zip(*found, strict=True))
    answering = len(CENTRED)
    matches = _Matches(owners, asking + views.start, asking_disc, keys // answering, keys % answering, distances)
    nearest = matches.other_images().nearest_of_each_pair()
    nearest = nearest.take(_place(nearest.images[0]) < PER_IMAGE)
    return nearest.first, nearest.first_disc, nearest.second, nearest.second_disc, nearest.distance


def _place(sorted_keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row its place, from 0, among the rows of its key."""
    places = np.arange(len(sorted_keys))
    return places - np.maximum.accumulate(np.where(_firsts(sorted_keys), places, 0))


def _ask(index: Any, vectors: NDArray[np.float32], disc: int, wanted: int) -> tuple[NDArray[Any], ...]:
    """(view, disc, key found, distance) of each answer to one disc of all views."""
    found = index.search(np.ascontiguousarray(vectors[:, disc]), wanted)
    views, places = np.nonzero(np.arange(wanted) < np.asarray(found.counts)[:, None])  # fewer may come than wanted
    keys, distances = np.asarray(found.keys, np.int64)[views, places], np.asarray(found.distances)[views, places]
    return views, np.full(len(views), disc, np.int64), keys, distances.astype(np.float32)


@dataclass(frozen=True)
class _Matches:
    """Answers of the index, as columns."""

    owners: NDArray[np.int64]  # (views,) image of each view
    first: NDArray[np.int64]  # (n,) view that asked
    first_disc: NDArray[np.int64]  # (n,)
    second: NDArray[np.int64]  # (n,) view found
    second_disc: NDArray[np.int64]  # (n,)
    distance: NDArray[np.float32]  # (n,) 0: the same

    @property
    def images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Image that asked and image found, int64 (n,) each."""
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


def _firsts(*sorted_keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row of sorted columns differs from the one before, bool (n,)."""
    first = np.ones(len(sorted_keys[0]), bool)
    if len(first):
        first[1:] = np.any([key[1:] != key[:-1] for key in sorted_keys], axis=0)
    return first


def build_index(vectors: NDArray[np.float32]) -> Any:
    """A usearch index of float32 (n, dimensions) unit vectors, keyed 0 to n - 1.

    Raises:
        DependencyError: usearch is not installed.
    """
    try:
        from usearch.index import Index
    except ImportError as error:
        raise DependencyError("pip install usearch") from error
    index = Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=_CONNECTIVITY,
        expansion_add=_EXPANSION_ADD,
        expansion_search=_EXPANSION_SEARCH,
    )
    # One thread: with two the graph, and so the result, would differ from run to run.
    index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), threads=1)
    return index


def _rank(matches: _Matches) -> Candidates:
    """Matches of each image in a row, nearest first; a pair that both ends found is kept once, at its better rank."""
    asking, found = matches.images
    rank = _place(asking)
    low, high = np.minimum(asking, found), np.maximum(asking, found)
    order = np.lexsort((asking, rank, high, low))
    near = order[_firsts(low[order], high[order])]
    near = near[np.lexsort((asking[near], matches.distance[near], rank[near]))]
    kept = matches.take(near)
    return Candidates(kept.first, kept.first_disc, kept.second, kept.second_disc, rank[near])
