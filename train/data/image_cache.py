"""The images of a data set as one uint8 array on disk, decoded and resized once, through the device's own code.

The array is memory-mapped: training never holds more than a batch of it. Images with identical pixels share a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.images import read_grey
from edge_runtime.preprocess import RESIZING_VERSION, preprocess
from edge_runtime.spec import ModelSpec
from edge_runtime.whole_files import whole_file
from train.audit import ImageRecord, Inventory
from train.audit.cache import DECODING, cache_folder

LAYOUT_VERSION = 1  # of the file: raise it where the array is laid out otherwise
_DECODERS = 4  # threads; Pillow releases the interpreter while it decodes


@dataclass(frozen=True)
class CachedImages:
    """Preprocessed images and where each file's stands."""

    images_u8: NDArray[np.uint8]  # (m, S, S), memory-mapped, read-only: one row for each different picture
    row_of_record: NDArray[np.int64]  # (n,): row of each record of the inventory


def cache_images(inventory: Inventory, spec: ModelSpec, progress: Callable[[int, int], None]) -> CachedImages:
    """The preprocessed images of an inventory, from the cache where it has them.

    Args:
        inventory: n records.
        spec: size, aspect and resampling.
        progress: called with (done, total) images.

    Raises:
        ImageError: a file of the inventory has changed since and can no longer be read.
    """
    rows: dict[str, int] = {}
    row_of_record = np.array([rows.setdefault(record.pixels_sha256, len(rows)) for record in inventory.records])
    firsts: dict[int, ImageRecord] = {}
    for row, record in zip(row_of_record.tolist(), inventory.records, strict=True):
        firsts.setdefault(row, record)
    path = cache_folder() / "images" / f"{_key(list(rows), spec)}.npy"
    if not path.is_file():
        _write(path, [inventory.root / record.path for record in firsts.values()], spec, progress)
    return CachedImages(np.load(path, mmap_mode="r"), row_of_record)


def _key(pixel_hashes: list[str], spec: ModelSpec) -> str:
    layout = f"layout {LAYOUT_VERSION}, {DECODING}, resizing {RESIZING_VERSION}"
    settings = f"{layout}, {spec.size} {spec.aspect} {spec.resampling}"
    return hashlib.sha256("\n".join([settings, *pixel_hashes]).encode()).hexdigest()[:32]


def _write(path: Path, sources: list[Path], spec: ModelSpec, progress: Callable[[int, int], None]) -> None:
    """Writes the array, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        shape = (len(sources), spec.size, spec.size)
        images_u8 = np.lib.format.open_memmap(draft, "w+", np.uint8, shape)

        def fill(row: int) -> None:
            images_u8[row] = preprocess(read_grey(sources[row], least_side=spec.size), spec)

        with ThreadPoolExecutor(_DECODERS) as pool:
            for done, _ in enumerate(pool.map(fill, range(len(sources))), 1):
                progress(done, len(sources))
        images_u8.flush()
