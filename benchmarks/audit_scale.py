"""How the audit's neighbour search grows: 1,000, 10,000 and 100,000 simulated images, planted copies among them.

    python -m benchmarks.audit_scale

The descriptors are unit vectors of the real size and number a view, drawn around cluster centres so that they are as
hard to tell apart as radiographs of one body part; one image in ten has a near copy. Decoding and comparing are linear
in the number of images (each is compared with a fixed number of neighbours at most), so this search is what could grow
faster. Shown: seconds, seconds / (n log n), the share of planted copies found among the candidates, memory, and how
many distances one question costs: the part of the growth that is the algorithm's and not the memory's.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.audit.copies.fingerprint import CENTRED, DISCS
from train.audit.copies.neighbours import build_index, find_candidates

DIMENSIONS = 176  # of a real fingerprint
POSES = 200  # clusters: body parts in poses
QUESTIONS, ANSWERS = 1_000, 24  # asked to count distances; answers to each, as the audit asks for
SPREAD, COPY_NOISE = 0.6, 0.12  # of an image around its pose, of a copy around its original; relative to a centre of 1


def simulate(images: int, seed: int) -> tuple[NDArray[np.float32], int]:
    """(float32 (images, discs, DIMENSIONS) unit vectors, number of copies); copies stand at the end, in order."""
    rng = np.random.default_rng(seed)
    copies = images // 10
    originals = images - copies
    poses = _unit(rng.standard_normal((POSES, DIMENSIONS), np.float32))
    poses = poses[rng.integers(POSES, size=originals)]
    vectors = np.empty((images, len(DISCS), DIMENSIONS), np.float32)
    for disc in range(len(DISCS)):
        around = SPREAD * _unit(rng.standard_normal((originals, DIMENSIONS), np.float32))
        vectors[:originals, disc] = _unit(poses + around)
        noise = COPY_NOISE * _unit(rng.standard_normal((copies, DIMENSIONS), np.float32))
        vectors[originals:, disc] = _unit(vectors[:copies, disc] + noise)
    return vectors, copies


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def measure(images: int, seed: int) -> dict[str, float]:
    vectors, copies = simulate(images, seed)
    start, start_cpu = time.perf_counter(), time.process_time()
    candidates = find_candidates(vectors, np.arange(images))
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    pairs = {(min(a, b), max(a, b)) for a, b in zip(candidates.first.tolist(), candidates.second.tolist(), strict=True)}
    found = sum((copy, images - copies + copy) in pairs for copy in range(copies))
    return {
        "images": images,
        "vectors indexed": images * len(CENTRED),
        "seconds": seconds,
        "CPU seconds": cpu,
        "CPU microseconds / (n log2 n)": cpu * 1e6 / (images * math.log2(images)),
        "copies found": found / copies,
        "candidate pairs an image": len(pairs) / images,
        "distances a question": distances_a_question(vectors),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def distances_a_question(vectors: NDArray[np.float32]) -> float:
    """Distances that the index calculates to answer one fingerprint, on average."""
    index = build_index(vectors[:, : len(CENTRED)].reshape(-1, DIMENSIONS))
    questions = np.ascontiguousarray(vectors[:: max(1, len(vectors) // QUESTIONS), 0])
    return index.search(questions, ANSWERS).computed_distances / len(questions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    rows = []
    for images in options.images:
        rows.append(measure(images, options.seed))
        print("  ".join(f"{name}: {value:.4g}" for name, value in rows[-1].items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
