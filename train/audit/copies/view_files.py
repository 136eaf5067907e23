"""What views are compared by, in files: more images than memory holds can be audited.

Images are prepared in parts, one file each, with one array after another. Rows are read with plain reads: pages of a
mapped file would count as memory of this process as long as the map exists.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from edge_runtime.errors import StorageError
from edge_runtime.images import read_grey
from edge_runtime.whole_files import whole_file
from train.audit.copies.fingerprint import DIMENSIONS, DISCS, ORDERS, RINGS, fingerprint
from train.audit.copies.smoothing import pool
from train.audit.copies.views import SIDE, make_views, normalise_contrast, remove_white_corners
from train.audit.workers import Workers

_CHUNK = 96  # views prepared at a time
_MOST_IN_A_PART, _LEAST_IN_A_PART, _PARTS = (
    256,
    16,
    16,
)  # images; small sets are divided too, so that all workers have some
_DECODE_SIDE = 256  # pixels; views need no more
_INDEX = ("owners", "kinds", "starts", "paths")


@dataclass(frozen=True)
class Field:
    """One of the arrays of a part."""

    rows: int  # of one view
    shape: tuple[int, ...]  # of one row
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


FIELDS = {
    "vectors": Field(len(DISCS), (DIMENSIONS,), "<f4"),  # `Fingerprints.vectors`
    "spectra": Field(len(DISCS), (RINGS, 2 * ORDERS), "<f2"),  # `Fingerprints.spectra`
    "coarse": Field(1, (SIDE // 4, SIDE // 4), "<f4"),  # a quarter of the size
    "middle": Field(1, (SIDE // 2, SIDE // 2), "<f4"),  # half of the size
    "texture": Field(1, (SIDE, SIDE), "<f2"),  # whole size
}
VIEW_BYTES = sum(field.rows * field.row_bytes for field in FIELDS.values())


class ViewFiles:
    """The views of all images of a data set, in a folder; n views, numbered by image."""

    def __init__(self, folder: Path) -> None:
        """Opens what `write_views` left in a folder."""
        self.folder = folder
        owners, kinds, starts, self._paths = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _INDEX)
        self.owners: NDArray[np.int32] = owners  # (n,) image of each view, ascending
        self.kinds: NDArray[np.int8] = kinds  # (n,) 0 or 1: which view of its image
        self._starts: NDArray[np.int64] = np.asarray(starts)  # (parts + 1,) first view of each part; n

    def __reduce__(self) -> tuple[Any, ...]:
        return ViewFiles, (self.folder,)  # another process opens the files itself

    def __len__(self) -> int:
        return len(self.owners)

    def path(self, image: int) -> Path:
        """Path of an image's file."""
        return Path(os.fsdecode(bytes(self._paths[image])))

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """The fingerprints of consecutive views, float32 (stop - start, discs, dimensions)."""
        field = FIELDS["vectors"]
        found = np.empty((stop - start, field.rows, *field.shape), field.dtype)
        part = int(np.searchsorted(self._starts, start, "right")) - 1
        done = start
        while done < stop:
            last = min(stop, int(self._starts[part + 1]))
            self._read("vectors", part, [(done * field.rows, found[done - start : last - start])])
            done, part = last, part + 1
        return found

    def take(self, name: str, rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Chosen rows of one field, (len(rows), *shape); row v * field.rows + r is the r-th of view v."""
        field = FIELDS[name]
        chosen, places = np.unique(rows, return_inverse=True)
        found = np.empty((len(chosen), *field.shape), field.dtype)
        parts = np.searchsorted(self._starts, chosen // field.rows, "right") - 1
        for part in np.unique(parts):
            wanted = np.flatnonzero(parts == part)
            self._read(name, int(part), [(int(chosen[row]), found[row : row + 1]) for row in wanted])
        return found[places]

    def _read(self, name: str, part: int, wanted: list[tuple[int, NDArray[Any]]]) -> None:
        """Fills arrays from the rows of a part that begin at a number."""
        first, last = (int(start) for start in self._starts[part : part + 2])
        field, begin = FIELDS[name], _begin(name, last - first)
        with open(_part_path(self.folder, part), "rb", buffering=0) as stream:
            for row, target in wanted:
                stream.seek(begin + (row - first * field.rows) * field.row_bytes)
                if stream.readinto(target.data) != target.nbytes:
                    raise StorageError(f"{stream.name}: is shorter than it was written")


def write_views(
    paths: Sequence[str], folder: Path, workers: Workers, progress: Callable[[int, int], None] | None = None
) -> ViewFiles:
    """The views of all images, prepared and written into a folder; progress is called with (done, total).

    Raises:
        StorageError: the folder cannot be written.
    """
    size = min(_MOST_IN_A_PART, max(_LEAST_IN_A_PART, math.ceil(len(paths) / _PARTS)))
    jobs = [(number, paths[start : start + size]) for number, start in enumerate(range(0, len(paths), size))]
    counts: list[int] = []
    starts = [0]
    for seen in workers.map(partial(_write_part, folder), jobs):
        counts += seen
        starts.append(starts[-1] + sum(seen))
        if progress is not None:
            progress(len(counts), len(paths))
    views = np.array(counts, np.int8)
    index = {
        "owners": np.repeat(np.arange(len(counts), dtype=np.int32), views),
        "kinds": np.concatenate([np.arange(count, dtype=np.int8) for count in counts]),
        "starts": np.array(starts, np.int64),
        "paths": np.array([os.fsencode(path) for path in paths]),
    }
    for name, values in index.items():
        np.save(folder / f"{name}.npy", values)
    return ViewFiles(folder)


def _write_part(folder: Path, job: tuple[int, Sequence[str]]) -> list[int]:
    """Writes a part, and returns the number of views of each of its images."""
    number, paths = job
    seen = [make_views(remove_white_corners(read_grey(Path(path), least_side=_DECODE_SIDE))) for path in paths]
    views = [view for views in seen for view in views]
    target = _part_path(folder, number)
    try:
        with whole_file(target, durable=False) as draft, draft.open("wb") as stream:
            for start in range(0, len(views), _CHUNK):
                prepared = _prepare(np.stack(views[start : start + _CHUNK]))
                for name, field in FIELDS.items():
                    stream.seek(_begin(name, len(views)) + start * field.rows * field.row_bytes)
                    stream.write(np.ascontiguousarray(prepared[name], field.dtype).data)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return [len(views) for views in seen]


def _part_path(folder: Path, number: int) -> Path:
    return folder / f"views-{number:06d}"


def _begin(name: str, views: int) -> int:
    """Where a field begins in a part with so many views."""
    begin = 0
    for other, field in FIELDS.items():
        if other == name:
            break
        begin += views * field.rows * field.row_bytes
    return begin


def _prepare(views_u8: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Each field of uint8 (n, SIDE, SIDE) views."""
    normalised = normalise_contrast(views_u8)
    fingerprints = fingerprint(normalised)
    return {
        "vectors": fingerprints.vectors,
        "spectra": fingerprints.spectra,
        "coarse": pool(normalised, 4),
        "middle": pool(normalised, 2),
        "texture": _texture(views_u8),
    }


def _texture(views_u8: NDArray[np.uint8]) -> NDArray[np.float16]:
    """float16, the finest structure of views at even local contrast; half floats halve the file."""
    images = views_u8.astype(np.float32)
    band = images - uniform_filter(images, 5, axes=(1, 2))
    return (band / np.sqrt(uniform_filter(band * band, 15, axes=(1, 2)).clip(0) + 2)).astype(np.float16)
