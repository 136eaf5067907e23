"""Where the images are: a folder, a list, or an object store, all read through fsspec."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq

from edge_runtime.errors import DataError, ImageError, StorageError
from edge_runtime.images import is_visible_image

LISTS = (".csv", ".parquet", ".txt")  # endings of files that name images
COLUMN = "path"  # of a list
MOST_FILE_BYTES = 512 << 20  # of one image, as edge-infer takes it


@dataclass(frozen=True)
class Archive:
    """Images in one place.

    Attributes:
        source: folder, list file, or URL such as `s3://bucket/prefix`.
        options: of the file system, such as `{"endpoint_url": ...}` for s3.
    """

    source: str
    options: dict[str, Any]

    def paths(self) -> Iterator[str]:
        """Paths of the images, folder by folder in sorted order, so that one folder at a time is in memory.

        Raises:
            DataError: the source is missing, or a list has no column `path`.
            StorageError: it cannot be read.
        """
        if self.source.lower().endswith(LISTS):
            yield from self._listed()
            return
        system, root = self._open()
        with _translated(self.source):
            if not system.isdir(root):
                raise DataError(
                    f"{self.source}: no such folder; expected a folder, a list ({', '.join(LISTS)}) or a URL"
                )
            yield from _walk(system, root)

    def read(self, path: str) -> bytes:
        """The bytes of one image.

        Args:
            path: as `paths` gave it.

        Raises:
            ImageError: it is missing or too large.
            StorageError: it cannot be read.
        """
        system, _ = self._open()
        with _translated(path):
            try:
                with system.open(path, "rb") as stream:
                    content: bytes = stream.read(MOST_FILE_BYTES + 1)
            except FileNotFoundError as error:
                raise ImageError(f"{path}: no such file", "missing") from error
            except IsADirectoryError as error:
                raise ImageError(f"{path}: is a folder", "unsupported") from error
        if len(content) > MOST_FILE_BYTES:
            raise ImageError(f"{path}: has more than {MOST_FILE_BYTES >> 20} MB", "too_large")
        return content

    def _open(self) -> tuple[Any, str]:
        try:
            system, root = fsspec.core.url_to_fs(self.source, **self.options)
        except (ValueError, ImportError) as error:  # an unknown scheme, or one whose package is missing
            raise DataError(f"{self.source}: {error}") from error
        return system, root

    def _listed(self) -> Iterator[str]:
        """Paths in a list; relative ones lie beside it."""
        beside = os.path.dirname(self.source)
        with _translated(self.source):
            for path in _names_in(self.source, self.options):
                is_whole = os.path.isabs(path) or "://" in path
                yield path if is_whole or not beside else os.path.join(beside, path)


def _walk(system: Any, folder: str) -> Iterator[str]:
    entries = sorted(system.ls(folder, detail=True), key=lambda entry: entry["name"])
    folders = []
    for entry in entries:
        name = entry["name"].rstrip("/")
        if entry["type"] == "directory":
            folders.append(name)
        elif is_visible_image(Path(name).name):
            yield name
    for inner in folders:
        if inner != folder.rstrip("/") and not Path(inner).name.startswith("."):
            yield from _walk(system, inner)


def _names_in(source: str, options: dict[str, Any]) -> Iterator[str]:
    ending = Path(source).suffix.lower()
    with fsspec.open(source, "rb", **options) as stream:
        if ending == ".parquet":
            table = pq.ParquetFile(stream)
            if COLUMN not in table.schema_arrow.names:
                raise DataError(f"{source}: has no column {COLUMN!r}, only {table.schema_arrow.names}")
            for batch in table.iter_batches(columns=[COLUMN]):
                yield from batch.column(0).to_pylist()
            return
        lines = (line.decode("utf-8", "surrogateescape") for line in stream)
        if ending == ".txt":
            yield from (line.strip() for line in lines if line.strip())
            return
        rows = csv.DictReader(lines)
        if rows.fieldnames is None or COLUMN not in rows.fieldnames:
            raise DataError(f"{source}: has no column {COLUMN!r}, only {rows.fieldnames}")
        for row in rows:
            yield row[COLUMN]


class _translated:
    """Turns what file systems raise into our errors; each has exceptions of its own below OSError or none."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{self._where}: no such file or folder") from error
        if isinstance(error, OSError):
            raise StorageError(f"{self._where}: cannot be read: {error.strerror or error}") from error
