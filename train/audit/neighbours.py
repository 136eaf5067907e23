"""Which images may be copies of one another: a nearest-neighbour graph instead of all pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DependencyError
from train.audit.fingerprint import CENTRED, DISCS

PER_IMAGE = 14  # other images that each image is compared with, at most
_PER_QUERY = 24  # fingerprints asked of the index: copies and their discs crowd the first places
_ASKING = (0, 2, *range(len(CENTRED), len(DISCS)))  # discs that ask; all centred ones answer, so all ratios are met
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
        owners: int64 (n,), image of each view.
    """
    views, answering, dimensions = len(vectors), len(CENTRED), vectors.shape[2]
    index = build_index(vectors[:, :answering].reshape(-1, dimensions))
    best: dict[tuple[int, int], tuple[float, int, int, int, int]] = {}
    wanted = min(_PER_QUERY, views * answering)
    for disc in _ASKING:
        found = index.search(np.ascontiguousarray(vectors[:, disc]), wanted)
        keys = np.asarray(found.keys, np.int64).reshape(views, -1)
        distances = np.asarray(found.distances, np.float64).reshape(views, -1)
        for view in range(views):
            for key, distance in zip(keys[view].tolist(), distances[view].tolist(), strict=True):
                other, other_disc = divmod(key, answering)
                pair = (int(owners[view]), int(owners[other]))
                match = (distance, view, disc, other, other_disc)
                if pair[0] != pair[1] and (pair not in best or match < best[pair]):
                    best[pair] = match
    return _rank(best)


def build_index(vectors: NDArray[np.float32]):  # noqa: ANN201 - usearch is imported late
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


def _rank(best: dict[tuple[int, int], tuple[float, int, int, int, int]]) -> Candidates:
    """Each image's nearest PER_IMAGE others; a pair that both ends found is kept once, at its better rank."""
    of_image: dict[int, list[tuple[tuple[float, int, int, int, int], int]]] = {}
    for (asking, found), match in best.items():
        of_image.setdefault(asking, []).append((match, found))
    chosen: dict[tuple[int, int], tuple[int, tuple[float, int, int, int, int]]] = {}
    for asking, matches in of_image.items():
        for rank, (match, found) in enumerate(sorted(matches)[:PER_IMAGE]):
            pair = (min(asking, found), max(asking, found))
            chosen[pair] = min(chosen.get(pair, (rank, match)), (rank, match))
    rows = [(match[1], match[2], match[3], match[4], rank) for rank, match in sorted(chosen.values())]
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Candidates(*columns)
