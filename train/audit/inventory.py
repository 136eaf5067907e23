"""What stands in a data set: every file, read once, either a record with its hashes or a reason why it is left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.errors import DataError, ImageError, StorageError
from edge_runtime.images import read_grey
from train.audit.classes import POSITIVE, normalise, resolve_labels
from train.audit.layout import Placement, find_files, place_files

Progress = Callable[[str, int, int], None]  # (stage, done, total)

WORKERS = 2  # decoding and hashing release the interpreter lock, so threads suffice
BLANK_SPREAD = 5  # grey levels between the percentiles below; less is a blank image
_BLANK_PERCENTILES = (0.5, 99.5)  # a few specks do not make a blank image a radiograph
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ImageRecord:
    """One readable image file."""

    path: str  # posix, relative to the root
    sha256: str  # hexadecimal, of the file's bytes
    pixels_sha256: str  # hexadecimal, of the decoded full-size grey image and its shape
    label: int  # 0 negative, 1 positive
    split: str | None  # `train`, `val` or `test`; None where the data set has class folders alone
    bytes: int  # size of the file
    width: int  # pixels, as decoded
    height: int  # pixels, as decoded
    mode: str  # Pillow's pixel mode of the file: `L`, `RGB`, `I;16`, ...
    format: str  # what the file is by its content: `JPEG`, `PNG`, ...


@dataclass(frozen=True)
class Unreadable:
    """One file that is left out."""

    path: str  # posix, relative to the root
    why: str  # for people


@dataclass(frozen=True)
class Inventory:
    """All files of a data set."""

    root: Path  # folder that the paths are relative to
    records: tuple[ImageRecord, ...]  # readable images, sorted by path
    unreadable: tuple[Unreadable, ...]  # everything else, sorted by path
    labels: tuple[str, str]  # class names: (negative, positive)


def take_inventory(root: Path, positive: str | None = None, progress: Progress | None = None) -> Inventory:
    """Every file below root, decoded once and hashed.

    Args:
        root: `train|val|test` folders with class folders inside, or class folders alone.
        positive: name of the positive class folder, where it cannot be told from its name.
        progress: called with (stage, done, total) after each decoded file.

    Raises:
        DataError: no image can be read, or the folders are not two classes.
        StorageError: a folder or a file cannot be read.
    """
    files, skipped = find_files(root)
    placements, misplaced = place_files(files)
    unreadable = [Unreadable(path, why) for path, why in [*skipped, *misplaced]]
    contents = _read_contents(root, placements, progress)
    readable: list[tuple[Placement, ImageRecord]] = []
    for placement, content in zip(placements, contents, strict=True):
        if isinstance(content, str):
            unreadable.append(Unreadable(placement.path, content))
        else:
            readable.append((placement, content))
    if not readable:
        raise DataError(_nothing_readable(root, unreadable))
    labels = resolve_labels(_spellings(readable), positive)
    records = [_label(placement, record, labels[POSITIVE]) for placement, record in readable]
    return Inventory(root, _by_path(records), _by_path(unreadable), labels)


def _by_path(items: list[Any]) -> tuple[Any, ...]:
    return tuple(sorted(items, key=lambda item: item.path))


def _nothing_readable(root: Path, unreadable: list[Unreadable]) -> str:
    if not unreadable:
        return f"{root}: no files in class folders; `fractured` and `not_fractured` with images were expected"
    first = unreadable[0]
    return f"{root}: none of {len(unreadable)} files can be read as an image; the first: {first.path}: {first.why}"


def _spellings(readable: list[tuple[Placement, ImageRecord]]) -> list[str]:
    """The class folders' names, sorted, the first spelling of each."""
    spellings: dict[str, str] = {}
    for placement, _ in sorted(readable, key=lambda pair: pair[0].class_folder):
        spellings.setdefault(normalise(placement.class_folder), placement.class_folder)
    return sorted(spellings.values())


def _label(placement: Placement, record: ImageRecord, positive: str) -> ImageRecord:
    return replace(record, label=int(normalise(placement.class_folder) == normalise(positive)))


def _read_contents(root: Path, placements: list[Placement], progress: Progress | None) -> list[ImageRecord | str]:
    """A record without its label, or why there is none, of each placement; equal bytes are decoded once."""
    with ThreadPoolExecutor(WORKERS) as pool:
        hashes = list(pool.map(lambda placement: _hash_file(root / placement.path), placements))
        firsts: dict[str, Placement] = {}
        for sha256, placement in zip(hashes, placements, strict=True):
            if sha256 is not None:
                firsts.setdefault(sha256, placement)
        decoded: dict[str, _Content | str] = {}
        results = pool.map(lambda placement: _decode(root / placement.path), firsts.values())
        for done, (sha256, content) in enumerate(zip(firsts, results, strict=True), 1):
            decoded[sha256] = content
            if progress is not None:
                progress("reading", done, len(firsts))
    return [
        "the file is gone or its link leads nowhere" if sha256 is None else _record(root, placement, sha256, decoded)
        for sha256, placement in zip(hashes, placements, strict=True)
    ]


@dataclass(frozen=True)
class _Content:
    """What decoding one file gives."""

    pixels_sha256: str
    bytes: int
    width: int
    height: int
    mode: str
    format: str


def _record(root: Path, placement: Placement, sha256: str, decoded: dict[str, _Content | str]) -> ImageRecord | str:
    content = decoded[sha256]
    if isinstance(content, str):
        return content
    return ImageRecord(placement.path, sha256, label=0, split=placement.split, **vars(content))


def _hash_file(path: Path) -> str | None:
    """Hexadecimal SHA-256 of a file; None where it is missing."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _decode(path: Path) -> _Content | str:
    """The content of an image file, or why it has none."""
    try:
        grey_u8 = read_grey(path)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    if is_blank(grey_u8):
        return "blank: all pixels have nearly the same value"
    mode, file_format = _read_header(path)
    height, width = grey_u8.shape
    return _Content(hash_pixels(grey_u8), os.stat(path).st_size, width, height, mode, file_format)


def is_blank(grey_u8: NDArray[np.uint8]) -> bool:
    """Whether a uint8 (H, W) image shows nothing."""
    low, high = np.percentile(grey_u8, _BLANK_PERCENTILES)
    return bool(high - low < BLANK_SPREAD)


def hash_pixels(grey_u8: NDArray[np.uint8]) -> str:
    """Hexadecimal SHA-256 of a uint8 (H, W) image and its shape."""
    shape = np.array(grey_u8.shape, "<i8").tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(grey_u8).tobytes()).hexdigest()


def _read_header(path: Path) -> tuple[str, str]:
    """(mode, format) of an image file that has already been decoded; no pixel is read."""
    with Image.open(path) as image:
        return image.mode, image.format or "unknown"
