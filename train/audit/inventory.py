"""What stands in a data set: every file, read once, either a record with its hashes or a reason why it is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import DataError
from train.audit.classes import POSITIVE, normalise, resolve_labels
from train.audit.contents import Content, read_contents
from train.audit.layout import Placement, find_files, place_files
from train.audit.levels import advice
from train.audit.workers import THREADS, Workers

Progress = Callable[[str, int, int], None]  # (stage, done, total)


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
    mode: str  # of its pixels: Pillow's `L`, `RGB`, `I;16`, ...; of DICOM `MONOCHROME1`, `MONOCHROME2`, ...
    format: str  # what the file is by its content: `JPEG`, `PNG`, `DICOM`, ...
    patient: str | None = None  # the same for all files of one patient; None: not told


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


def take_inventory(
    root: Path, positive: str | None = None, progress: Progress | None = None, workers: Workers = THREADS
) -> Inventory:
    """Every file below root, decoded once and hashed.

    Args:
        root: `train|val|test` folders with class folders inside, or class folders alone.
        positive: name of the positive class folder, where it cannot be told from its name.
        progress: called with (stage, done, total) after each decoded file.
        workers: hash and decode.

    Raises:
        DataError: no image can be read, or the folders are not two classes.
        StorageError: a folder or a file cannot be read.
    """
    files, skipped = find_files(root)
    placements, misplaced = place_files(files)
    unreadable = [Unreadable(path, why) for path, why in [*skipped, *misplaced]]
    paths = [placement.path for placement in placements]
    contents = read_contents(root, paths, _stage(progress), workers)
    readable: list[tuple[Placement, Content]] = []
    for placement, content in zip(placements, contents, strict=True):
        if isinstance(content, str):
            unreadable.append(Unreadable(placement.path, content))
        else:
            readable.append((placement, content))
    if not readable:
        raise DataError(f"{_nothing_readable(root, unreadable)}{advice(files)}")
    try:
        labels = resolve_labels(_spellings(readable), positive)
    except DataError as error:
        raise DataError(f"{error}{advice(files)}") from error
    records = [_record(placement, content, labels[POSITIVE]) for placement, content in readable]
    return Inventory(root, _by_path(records), _by_path(unreadable), labels)


def _by_path(items: list[Any]) -> tuple[Any, ...]:
    return tuple(sorted(items, key=lambda item: item.path))


def _nothing_readable(root: Path, unreadable: list[Unreadable]) -> str:
    if not unreadable:
        return f"{root}: no files in class folders; `fractured` and `not_fractured` with images were expected"
    first = unreadable[0]
    return f"{root}: none of {len(unreadable)} files can be read as an image; the first: {first.path}: {first.why}"


def _spellings(readable: list[tuple[Placement, Content]]) -> list[str]:
    """The class folders' names, sorted, the first spelling of each."""
    spellings: dict[str, str] = {}
    for placement, _ in sorted(readable, key=lambda pair: pair[0].class_folder):
        spellings.setdefault(normalise(placement.class_folder), placement.class_folder)
    return sorted(spellings.values())


def _record(placement: Placement, content: Content, positive: str) -> ImageRecord:
    label = int(normalise(placement.class_folder) == normalise(positive))
    told = {**vars(content), "patient": content.patient or placement.patient}
    return ImageRecord(placement.path, label=label, split=placement.split, **told)


def _stage(progress: Progress | None) -> Callable[[int, int], None]:
    return lambda done, total: None if progress is None else progress("reading", done, total)
