"""How the audit grows: its neighbour search on simulated descriptors, and the whole of it on phantoms.

    python -m benchmarks.audit_scale                                        # 1,000, 10,000 and 100,000 simulated images
    python -m benchmarks.audit_scale --images 1000000 --folder /large/disk  # 11 GB of descriptors, 4 GB of index
    python -m benchmarks.audit_scale --memory --views 2 --images 100000     # peak memory alone, in a tenth of the time
    python -m benchmarks.audit_scale --phantoms --images 1000 10000         # edge-audit on files
    python -m benchmarks.audit_scale --phantoms --images 20000 --ray        # and by both engines: are the groups equal?

The descriptors are unit vectors of the real size and number a view, drawn around cluster centres so that they are as
hard to tell apart as radiographs of one body part; one image in ten has a near copy. They are read from a file, as the
audit reads them. Decoding and comparing are linear in the number of images (each is compared with a fixed number of
neighbours at most), so this search is what could grow faster. Shown: seconds, seconds / (n log n), the share of planted
copies found among the candidates, peak memory of a process that does nothing else, and how many distances one question
costs: the part of the growth that is the algorithm's and not the memory's.

`--memory`: the graph is built and asked with as little search as will do. It holds as many edges in as much memory, but
worse ones: seconds and copies found then say nothing about the audit. `--views 2`: of each image, as where not square.

Phantoms: files of 192 pixels, ten of each phantom, turned by any angle; shown are the seconds and the peak memory of
`edge-audit`, how many groups it finds, and how many there are. `--ray`: the same files by Ray as well, each engine with
a cache of its own; CPU seconds and peak memory of Ray are those of the driver.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.audit.copies import neighbours
from train.audit.copies.fingerprint import CENTRED, DIMENSIONS, DISCS
from train.audit.copies.neighbours import build_index, find_candidates
from train.phantom import draw

POSES = 200  # clusters: body parts in poses
QUESTIONS, ANSWERS = 1_000, 24  # asked to count distances; answers to each, as the audit asks for
SPREAD, COPY_NOISE = 0.6, 0.12  # of an image around its pose, of a copy around its original; relative to a centre of 1
BLOCK = 5_000  # images drawn at a time
FILES_A_PHANTOM = 10
LITTLE = 8  # candidates that the search keeps where memory alone is measured


class Simulated:
    """Descriptors of views in a file; those of copies stand at the end, in order."""

    def __init__(self, path: Path, images: int, views: int = 1) -> None:
        self.path, self.views, self.copies = path, images * views, images // 10 * views
        self.owners = np.repeat(np.arange(images, dtype=np.int32), views)

    def __len__(self) -> int:
        return self.views

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        row = len(DISCS) * DIMENSIONS
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(start * row * 4)
            found = np.fromfile(stream, np.float32, (stop - start) * row)
        return found.reshape(-1, len(DISCS), DIMENSIONS)

    def draw(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        poses = unit(rng.standard_normal((POSES, DIMENSIONS), np.float32))
        originals = self.views - self.copies
        with self.path.open("wb") as stream:
            for start in range(0, originals, BLOCK):
                count = min(BLOCK, originals - start)
                centres = poses[rng.integers(POSES, size=count)][:, None]
                unit(centres + SPREAD * unit(rng.standard_normal((count, len(DISCS), DIMENSIONS), np.float32))).tofile(
                    stream
                )
            stream.flush()
            for start in range(0, self.copies, BLOCK):
                copied = self.vectors(start, min(start + BLOCK, self.copies))
                unit(copied + COPY_NOISE * unit(rng.standard_normal(copied.shape, np.float32))).tofile(stream)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def measure_search(folder: Path, images: int, seed: int, views_an_image: int, memory: bool) -> dict[str, float]:
    if memory:
        neighbours._EXPANSION_ADD = neighbours._EXPANSION_SEARCH = LITTLE
    views = Simulated(folder / "descriptors", images, views_an_image)
    views.draw(seed)
    start, start_cpu = time.perf_counter(), time.process_time()
    candidates = find_candidates(views, folder)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    peak = getrusage(RUSAGE_SELF).ru_maxrss / 1e3  # before the distances are counted, with an index of their own
    first, second = views.owners[candidates.first], views.owners[candidates.second]
    low, high, copies = np.minimum(first, second), np.maximum(first, second), images // 10
    wanted = low < copies
    found = np.sum(high[wanted] == low[wanted] + images - copies)
    return {
        "images": images,
        "vectors indexed": len(views) * len(CENTRED),
        "seconds": seconds,
        "CPU seconds": cpu,
        "CPU microseconds / (n log2 n)": cpu * 1e6 / (images * math.log2(images)),
        "copies found": float(found) / copies,
        "candidate pairs an image": len(low) / images,
        "distances a question": distances_a_question(views) if images <= 100_000 and not memory else math.nan,
        "peak MB": peak,
    }


def distances_a_question(views: Simulated) -> float:
    """Distances that the index calculates to answer one fingerprint, on average."""
    index = build_index(views, 0, len(views))
    step = max(1, len(views) // QUESTIONS)
    questions = np.concatenate([views.vectors(at, at + 1)[:, 0] for at in range(0, len(views), step)])
    return index.search(questions, ANSWERS).computed_distances / len(questions)


def measure_audit(folder: Path, images: int, seed: int, ray: bool) -> dict[str, float]:
    data = folder / "data"
    plant(data, images, seed)
    figures, groups = audit(data, folder / "cache")
    phantoms = [{Path(path).stem.split("-")[0] for path in group} for group in groups]
    measured = {
        "images": images,
        **figures,
        "CPU microseconds / (n log2 n)": figures["CPU seconds"] * 1e6 / (images * math.log2(images)),
        "phantoms": -(-images // FILES_A_PHANTOM),
        "groups": len(groups),
        "groups of several phantoms": sum(len(group) > 1 for group in phantoms),
    }
    if ray:
        figures, others = audit(data, folder / "cache-ray", "--engine", "ray")
        measured |= {f"{name} on Ray": value for name, value in figures.items()}
        measured["groups that only one engine has"] = len({*map(frozenset, groups)} ^ {*map(frozenset, others)})
    return measured


def audit(data: Path, cache: Path, *options: str) -> tuple[dict[str, float], list[list[str]]]:
    """What an audit from nothing took, and its groups of file names."""
    command = [sys.executable, "-m", "train.audit.cli", str(data), "--json", *options]
    timed = ["/usr/bin/time", "-f", "peak %M CPU %U %S", *command]
    start = time.perf_counter()
    done = subprocess.run(
        timed, capture_output=True, text=True, check=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)}
    )
    seconds = time.perf_counter() - start
    told = re.search(r"^peak (\d+) CPU ([\d.]+) ([\d.]+)$", done.stderr, re.MULTILINE)
    if told is None:
        raise RuntimeError(done.stderr)
    figures = {"seconds": seconds, "CPU seconds": float(told[2]) + float(told[3]), "peak MB": int(told[1]) / 1e3}
    return figures, json.loads(done.stdout)["groups"]


def plant(data: Path, images: int, seed: int) -> None:
    """Writes so many files, ten of each phantom: one as it was drawn, nine turned."""
    jobs = [(data, seed, phantom, images) for phantom in range(-(-images // FILES_A_PHANTOM))]
    for name in ("fractured", "normal"):
        (data / name).mkdir(parents=True)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(plant_one, jobs, chunksize=20)


def plant_one(job: tuple[Path, int, int, int]) -> None:
    data, seed, phantom, images = job
    image = Image.fromarray(draw(seed, phantom, phantom % 2).image_u8)
    rng = np.random.default_rng([seed, phantom])
    for number in range(min(FILES_A_PHANTOM, images - phantom * FILES_A_PHANTOM)):
        turned = image.rotate(float(rng.uniform(1, 359)), Image.Resampling.BICUBIC) if number else image
        turned.save(data / ("normal", "fractured")[phantom % 2] / f"{phantom:06d}-{number}.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--views", type=int, default=1, help="of each simulated image")
    parser.add_argument("--memory", action="store_true", help="measure peak memory alone")
    parser.add_argument("--phantoms", action="store_true", help="draw files and audit them")
    parser.add_argument("--ray", action="store_true", help="audit them by Ray as well, and compare the groups")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where files are made for the time of the run")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    rows = []
    for images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            given = (Path(folder), images, options.seed)
            if options.phantoms:
                rows.append(measure_audit(*given, options.ray))
            else:
                # A process of its own: the peak of the one before would count for it.
                with multiprocessing.get_context("spawn").Pool(1) as alone:
                    rows.append(alone.apply(measure_search, (*given, options.views, options.memory)))
        print("  ".join(f"{name}: {value:.4g}" for name, value in rows[-1].items()), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
