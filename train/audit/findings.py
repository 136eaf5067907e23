"""All that an audit found, and the verdict: fit for evaluation, or not, and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from train.audit import patients
from train.audit.copies.links import Link, find_links
from train.audit.grouping import group_by_links, keep_together
from train.audit.inventory import Inventory, Progress, take_inventory
from train.audit.levels import SPLITS
from train.audit.shortcuts import measure_shortcuts
from train.audit.splitting import LeakMatrix, leak_matrix, split_by_folders
from train.audit.wording import counted
from train.audit.workers import THREADS, Workers

SHORTCUT_MOST = 0.75  # AUC; what tells the label better than this makes every figure doubtful
TEST_LEAST = 20  # radiographs of each class in the test split; fewer measure nothing


@dataclass(frozen=True)
class Findings:
    """Of one data set."""

    inventory: Inventory  # its files
    links: tuple[Link, ...]  # between different images of one radiograph, surest first
    groups: NDArray[np.int64]  # (n,) radiograph of each record
    together: NDArray[np.int64]  # (n,) the same, with all radiographs of one patient in one: what may never be split
    members: tuple[tuple[int, ...], ...]  # records of each radiograph
    conflicts: tuple[int, ...]  # radiographs whose files bear both labels
    leak: LeakMatrix | None  # between its folders; None where it has no split folders
    shortcuts: dict[str, float]  # AUC of each
    reasons: tuple[str, ...]  # why it is not fit for evaluation; empty: it is
    notes: tuple[str, ...] = ()  # what nobody can tell

    @property
    def fit(self) -> bool:
        """Whether figures measured on this data set mean anything."""
        return not self.reasons

    def paths(self, group: int) -> list[str]:
        """Paths of a group's files, relative to the root."""
        return [self.inventory.records[member].path for member in self.members[group]]

    def to_dict(self) -> dict[str, Any]:
        """What `edge-audit --json` prints."""
        return {
            "files": len(self.inventory.records) + len(self.inventory.unreadable),
            "unreadable": [{"path": item.path, "why": item.why} for item in self.inventory.unreadable],
            "groups": [[self.inventory.records[member].path for member in group] for group in _members(self.together)],
            "conflicts": [self.paths(group) for group in self.conflicts],
            "leak": self.leak.to_dict() if self.leak else {"files": {}, "groups": {}},
            "shortcuts": self.shortcuts,
            "links": links_to_dicts(self.links, self.inventory),
            "mislabelled_formats": mislabelled_formats(self.inventory),
            "fit": self.fit,
            "reasons": list(self.reasons),
            "patients": {"told": patients.told(self.inventory), "files": len(self.inventory.records)},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Means:
    """What an audit is done with."""

    progress: Progress | None = None  # called with (stage, done, total)
    workers: Workers = THREADS


def audit(
    root: Path,
    positive: str | None = None,
    seed: int = 0,
    means: Means | None = None,
    shortcuts: bool = True,
    table: Path | None = None,
) -> Findings:
    """Everything there is to know about the data set at root.

    Args:
        root: its folder.
        positive: name of the positive class folder, where it cannot be told.
        seed: of the cross-validation of shortcuts.
        means: None: in this process, and nobody is told of progress.
        shortcuts: whether to measure them.
        table: CSV that tells patients; see `patients.with_groups`.

    Raises:
        DataError: nothing can be made from the folder, or the table is not about it.
        StorageError: it cannot be read.
    """
    progress, workers = (means or Means()).progress, (means or Means()).workers
    inventory = patients.with_groups(take_inventory(root, positive, progress, workers), table)
    links = find_links(inventory, progress, workers)
    groups = group_by_links(inventory, links)
    together = keep_together(inventory, groups)
    members = _members(groups)
    labels = [{inventory.records[member].label for member in group} for group in members]
    conflicts = tuple(group for group, found in enumerate(labels) if len(found) > 1)
    has_splits = inventory.records[0].split is not None
    leak = leak_matrix(split_by_folders(inventory), together) if has_splits else None
    if progress is not None and shortcuts:
        progress("measuring shortcuts", 0, 1)
    aucs = measure_shortcuts(inventory, groups, seed) if shortcuts else {}
    notes = tuple(filter(None, [patients.unknown(inventory)]))
    reasons = (
        *_leak_reasons(leak, patients.told(inventory) > 0),
        *_label_reasons(conflicts),
        *_size_reasons(inventory, together),
        *_cheats(aucs),
    )
    return Findings(inventory, links, groups, together, members, conflicts, leak, aucs, reasons, notes)


def _members(groups: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    members: defaultdict[int, list[int]] = defaultdict(list)
    for record, group in enumerate(groups.tolist()):
        members[group].append(record)
    return tuple(tuple(members[group]) for group in range(len(members)))


def _leak_reasons(leak: LeakMatrix | None, by_patient: bool) -> list[str]:
    if leak is None:
        return []
    reasons = []
    for row, a in enumerate(leak.splits):
        for column, b in enumerate(leak.splits):
            if row > column and leak.groups[row][column]:
                shared, total = leak.groups[row][column], leak.groups[row][row]
                are = "is" if shared == 1 else "are"
                what = counted(total, *(("patient", "patients") if by_patient else ("radiograph", "radiographs")))
                reasons.append(f"{shared} of {what} in {a} {are} shared with {b}")
    return reasons[::-1]


def _label_reasons(conflicts: tuple[int, ...]) -> list[str]:
    return [f"{counted(len(conflicts), 'radiograph has', 'radiographs have')} both labels"] if conflicts else []


def _size_reasons(inventory: Inventory, groups: NDArray[np.int64]) -> list[str]:
    """What is too small: the test split where there is one, else the whole."""
    has_splits = inventory.records[0].split is not None
    where, least = ("the test split", TEST_LEAST) if has_splits else ("the data set", len(SPLITS) * TEST_LEAST)
    reasons = []
    for label, name in enumerate(inventory.labels):
        inside = [r.label == label and r.split in (None, "test") for r in inventory.records]
        count = len(set(groups[np.array(inside)].tolist()))
        if count < least:
            reasons.append(
                f"{where} has {counted(count, 'independent radiograph')} of {name!r}, at least {least} are needed"
            )
    return reasons


def _cheats(shortcuts: dict[str, float]) -> list[str]:
    strong = {name: auc for name, auc in shortcuts.items() if auc > SHORTCUT_MOST}
    return [f"the label can be predicted from {name} alone (AUC {auc:.2f})" for name, auc in strong.items()]


def links_to_dicts(links: tuple[Link, ...], inventory: Inventory) -> list[dict[str, Any]]:
    """Links with paths in place of hashes; of files with the same pixels the first stands for all."""
    first_paths = {record.pixels_sha256: record.path for record in reversed(inventory.records)}
    return [
        {
            "paths": [first_paths[link.first], first_paths[link.second]],
            "agreement": link.agreement,
            "angle": link.angle,
            "mirrored": link.mirrored,
            "scale": link.scale,
            "accepted": link.accepted,
        }
        for link in links
    ]


def mislabelled_formats(inventory: Inventory) -> list[dict[str, str]]:
    """Files whose suffix claims another format than they have: [{`path`, `format`}]."""
    Image.init()
    claims = Image.registered_extensions()
    return [
        {"path": record.path, "format": record.format}
        for record in inventory.records
        # PPM and MPO are what Pillow calls PGM and multi-picture JPEG files.
        if claims.get(PurePosixPath(record.path).suffix.lower(), record.format) != record.format
        and (claims.get(PurePosixPath(record.path).suffix.lower()), record.format) != ("JPEG", "MPO")
    ]
