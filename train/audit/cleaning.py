"""A cleaned copy of a data set: one file a radiograph, honest splits, names that tell. All of it or nothing."""

from __future__ import annotations

import csv
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_runtime.errors import DataError
from edge_runtime.whole_files import recover_folder, whole_folder
from train.audit.findings import Findings
from train.audit.inventory import ImageRecord, Inventory
from train.audit.layout import refuse_inside
from train.audit.splitting import split_by_group

_SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "DICOM": ".dcm",
}
_COLUMNS = ("file", "origin", "sha256", "class", "group", "member", "split")


@dataclass(frozen=True)
class _Row:
    """One file of the cleaned copy."""

    file: str  # posix, relative to the cleaned folder
    record: ImageRecord  # where it comes from
    group: int
    member: str  # letters: `a` is the representative
    split: str


def write_clean(findings: Findings, target: Path, keep_copies: bool, seed: int) -> int:
    """Writes the cleaned copy and returns its number of images; radiographs with both labels are left out.

    Args:
        findings: of the original, which is only read.
        target: a folder that does not exist yet, outside of the original.
        keep_copies: write all files of a radiograph, not its best alone.
        seed: of the split.

    Raises:
        DataError: the target exists or lies in the original, or there are too few radiographs to split.
    """
    inventory = findings.inventory
    recover_folder(Path(os.path.realpath(target)))
    if target.exists():
        raise DataError(f"{target} exists already; name a folder that does not")
    refuse_inside(target, inventory.root, "--write")
    rows = _plan(findings, keep_copies, seed)
    with whole_folder(target) as draft:
        _fill(draft, rows, inventory)
    return len(rows)


def _plan(findings: Findings, keep_copies: bool, seed: int) -> list[_Row]:
    inventory = findings.inventory
    splits = split_by_group(inventory, findings.together, seed)
    rows = []
    for group, members in enumerate(findings.members):
        if group in findings.conflicts:
            continue
        ordered = sorted(members, key=lambda index: _preference(inventory.records[index]))
        for number, index in enumerate(ordered if keep_copies else ordered[:1]):
            record, split = inventory.records[index], splits[index]
            folder = _slug(inventory.labels[record.label])
            name = f"{folder}_g{group:04}_{_letters(number)}_{record.sha256[:8]}{_suffix(record)}"
            rows.append(_Row(f"{split}/{folder}/{name}", record, group, _letters(number), split))
    return rows


def _preference(record: ImageRecord) -> tuple[int, int, str]:
    """Sorts the best file of a radiograph first: most pixels, then the shortest name, which edits make longer."""
    return -record.width * record.height, len(record.path), record.path


def _fill(folder: Path, rows: list[_Row], inventory: Inventory) -> None:
    for row in rows:
        path = folder / row.file
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inventory.root / row.record.path, path)
    with (folder / "index.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            record, label = row.record, inventory.labels[row.record.label]
            writer.writerow([row.file, record.path, record.sha256, label, row.group, row.member, row.split])


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "class"


def _letters(number: int) -> str:
    """The number as letters: a, b, ..., z, aa, ab, ..."""
    letters = ""
    while number >= 0:
        number, digit = divmod(number, 26)
        letters, number = chr(ord("a") + digit) + letters, number - 1
    return letters


def _suffix(record: ImageRecord) -> str:
    return _SUFFIXES.get(record.format, PurePosixPath(record.path).suffix.lower())
