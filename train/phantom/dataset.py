"""The embedded data set on disk: folders of PNG files in the layout of the public ones.

The folder appears whole or not at all: everything is written beside it and renamed at the end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from functools import partial
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from edge_runtime.images import PHANTOM_SOFTWARE
from edge_runtime.whole_files import whole_folder
from train.phantom.scene import draw

# Raised whenever the same seed and index would give another picture.
GENERATOR_VERSION = "1"
SPLITS = ("train", "val", "test")
CLASS_FOLDERS = ("not_fractured", "fractured")  # by label
DATASET_JSON = "dataset.json"
# Each split draws from its own range of indices, so a longer train split changes no test image.
INDICES_PER_SPLIT = 100_000
CHUNK = 32


def write_dataset(folder: Path, counts: dict[str, int], seed: int, workers: int | None = None) -> Path:
    """Return ``folder``, newly written with phantoms and a ``dataset.json``.

    Every second phantom is fractured. Files are ``SPLIT/CLASS/phantom_INDEX.png``, 8-bit grey; the
    index is unique across splits. The same arguments give the same bytes with the same zlib. Workers
    are spawned, so a script that calls this needs its ``if __name__ == "__main__"``.

    Args:
        folder: The folder to make; it must not exist.
        counts: Images per split; the keys are among train, val and test.
        seed: Seed of the data set, >= 0.
        workers: Processes that draw; by default two, or one on a single processor.

    Raises:
        FileExistsError: The folder exists already.
        ValueError: A split is unknown or a count does not fit.
    """
    folder = Path(folder)
    check_counts(counts)
    if folder.exists():
        raise FileExistsError(f"expected a folder that does not exist yet, found {folder}: choose another or remove it")
    with whole_folder(folder) as draft:
        write_images(draft, counts, seed, workers)
        facts = {"generator_version": GENERATOR_VERSION, "seed": seed, "counts": counts}
        (draft / DATASET_JSON).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return folder


def check_counts(counts: dict[str, int]) -> None:
    """Raise ValueError unless counts name known splits and fit their ranges of indices."""
    for split, count in counts.items():
        if split not in SPLITS or not 0 <= count <= INDICES_PER_SPLIT:
            raise ValueError(f"expected counts of 0 to {INDICES_PER_SPLIT} for {SPLITS}, got {split!r}: {count}")


def write_images(folder: Path, counts: dict[str, int], seed: int, workers: int | None) -> None:
    """Write all images of a data set below an existing folder."""
    jobs = [(split, first_index(split) + offset) for split, count in counts.items() for offset in range(count)]
    for split in counts:
        for name in CLASS_FOLDERS:
            (folder / split / name).mkdir(parents=True)
    processes = min(2, os.cpu_count() or 1) if workers is None else workers
    write = partial(write_phantom, folder, seed)
    if processes <= 1 or len(jobs) <= CHUNK:
        for job in jobs:
            write(job)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for _ in pool.imap_unordered(write, jobs, chunksize=CHUNK):
            pass


def first_index(split: str) -> int:
    """Return the index of a split's first phantom."""
    return SPLITS.index(split) * INDICES_PER_SPLIT


def write_phantom(folder: Path, seed: int, job: tuple[str, int]) -> None:
    """Write one phantom as PNG; ``job`` is its split and its index."""
    split, index = job
    phantom = draw(seed, index)
    path = folder / split / CLASS_FOLDERS[phantom.label] / f"phantom_{index:05d}.png"
    # So that a network of radiographs can say that it never learnt from such an image.
    notes = PngInfo()
    notes.add_text("Software", PHANTOM_SOFTWARE)
    Image.fromarray(phantom.image_u8).save(path, compress_level=6, pnginfo=notes)
