"""Near fingerprints are found, whether one index answers or several."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from train.audit.copies import neighbours
from train.audit.copies.fingerprint import DIMENSIONS, DISCS
from train.audit.copies.neighbours import Candidates, find_candidates
from train.audit.workers import Threads

IMAGES, COPIES = 150, 15  # the last ones are copies of the first
NOISE = 0.1  # of a copy, relative to a vector of length 1


@dataclass(frozen=True)
class Simulated:
    """Two views an image, far apart."""

    owners: NDArray[np.int32]
    all_vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.owners)

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.all_vectors[start:stop]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((IMAGES, 2, len(DISCS), DIMENSIONS), np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[-COPIES:] = vectors[:COPIES] + NOISE * vectors[-COPIES:]
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return Simulated(np.repeat(np.arange(IMAGES, dtype=np.int32), 2), vectors.reshape(-1, len(DISCS), DIMENSIONS))


class Sharded(Threads):
    def in_one_index(self, vectors: int) -> int:
        return 350


def image_pairs(found: Candidates, simulated: Simulated) -> dict[tuple[int, int], int]:
    firsts, seconds = simulated.owners[found.first].tolist(), simulated.owners[found.second].tolist()
    return {(min(a, b), max(a, b)): int(r) for a, b, r in zip(firsts, seconds, found.rank, strict=True)}


def test_copies_are_the_nearest(simulated: Simulated, tmp_path: Path) -> None:
    pairs = image_pairs(find_candidates(simulated, tmp_path), simulated)
    assert all(pairs[copy, IMAGES - COPIES + copy] == 0 for copy in range(COPIES))


def test_several_indexes_find_what_one_finds(simulated: Simulated, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "several").mkdir()
    alone = find_candidates(simulated, tmp_path / "one")
    sharded = find_candidates(simulated, tmp_path / "several", Sharded())
    assert len(list((tmp_path / "several").iterdir())) == 5
    assert all(image_pairs(sharded, simulated)[copy, IMAGES - COPIES + copy] == 0 for copy in range(COPIES))
    # A search is approximate, and small indexes overlook less than a large one: as many, and no farther.
    assert len(sharded.first) >= 0.99 * len(alone.first)
    assert mean_likeness(sharded, simulated) >= mean_likeness(alone, simulated) - 0.001


def mean_likeness(found: Candidates, simulated: Simulated) -> float:
    """Mean cosine of the discs of all candidate pairs."""
    vectors = simulated.all_vectors
    return float((vectors[found.first, found.first_disc] * vectors[found.second, found.second_disc]).sum(1).mean())


def test_many_images_are_asked_for_in_chunks(
    simulated: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    whole = find_candidates(simulated, tmp_path / "whole")
    monkeypatch.setattr(neighbours, "_IMAGES_A_CHUNK", 64)
    chunked = find_candidates(simulated, tmp_path)
    for name in Candidates.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))


def test_half_floats_find_the_copies_too(simulated: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_WHOLE_FLOATS_MOST", 100)
    pairs = image_pairs(find_candidates(simulated, tmp_path), simulated)
    assert all(pairs[copy, IMAGES - COPIES + copy] == 0 for copy in range(COPIES))
    whole_bytes = len(simulated) * 5 * DIMENSIONS * 4
    assert next(tmp_path.iterdir()).stat().st_size < whole_bytes


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="tells what is mapped on Linux alone")
def test_threads_share_one_mapping_of_an_index(simulated: Simulated, tmp_path: Path) -> None:
    path = neighbours._write_index(simulated, (tmp_path / "index", 0, 100))
    both = threading.Barrier(2)

    def search(_: int) -> tuple[bytes, int]:
        index = neighbours._open_index(path)
        both.wait()  # each in a thread of its own
        found = index.search(simulated.vectors(0, 9)[:, 0], 3, threads=1).keys.tobytes()
        mapped = Path("/proc/self/maps").read_text().count(str(path))
        both.wait()
        return found, mapped

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(search, range(2))
    assert first == second
    assert first[1] == 1
    assert str(path) not in Path("/proc/self/maps").read_text()  # goes with the threads
