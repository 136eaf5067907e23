"""Where files stand: the walk through a data set's folders, and what a path says about split and class."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DataError, StorageError
from train.audit.levels import class_of, find_levels, patient_of, split_of

Skipped = list[tuple[str, str]]  # (path relative to the root, why)


@dataclass(frozen=True)
class Placement:
    """What the folders say about one file."""

    path: str  # posix, relative to the root
    split: str | None  # one of SPLITS; None where the data set has class folders alone
    class_folder: str  # name of its class folder, as spelled
    patient: str | None = None  # as the folders name it; None: they do not


def refuse_inside(target: Path, root: Path, option: str) -> None:
    """Refuses to write into a data set.

    Raises:
        DataError: the target lies in it, or is it.
    """
    if target.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{option} {target}: lies inside {root}, which is never written to; name a folder elsewhere")


def find_files(root: Path) -> tuple[list[str], Skipped]:
    """Paths of all regular files below root, sorted, and what was skipped; hidden names do not count.

    Links to folders are followed out of the data set, never back into it, so circles end.

    Raises:
        DataError: root is missing, no folder, or empty.
        StorageError: a folder cannot be listed.
    """
    if not root.is_dir():
        raise DataError(f"{root}: " + ("a folder was expected, not a file" if root.exists() else "no such folder"))
    files: list[str] = []
    skipped: Skipped = []
    seen = {os.path.realpath(root)}
    pending = [root]
    while pending:
        pending.extend(_list_folder(pending.pop(), root, seen, files, skipped))
    if not files and not skipped:
        raise DataError(f"{root}: the folder is empty")
    return sorted(files), skipped


def _list_folder(folder: Path, root: Path, seen: set[str], files: list[str], skipped: Skipped) -> list[Path]:
    """Files `folder` into files and skipped, and returns its folders that remain to be visited."""
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
            kinds = [(Path(entry.path), entry.is_dir(), entry.is_symlink()) for entry in visible]
    except OSError as error:
        raise StorageError(f"{folder}: cannot be listed: {error.strerror}") from error
    folders: list[Path] = []
    for path, is_folder, is_link in kinds:
        name = path.relative_to(root).as_posix()
        if not is_folder:
            if _is_special(path):
                skipped.append((name, "neither a file nor a folder"))
            else:
                files.append(name)
        elif is_link and _leads_back(path, root, seen):
            skipped.append((name, "a link to a folder that is already counted"))
        else:
            seen.add(os.path.realpath(path))
            folders.append(path)
    return folders


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device: opening one could wait forever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # a link to nowhere: reading it will say so


def _leads_back(link: Path, root: Path, seen: set[str]) -> bool:
    target, home = Path(os.path.realpath(link)), Path(os.path.realpath(root))
    return str(target) in seen or target.is_relative_to(home) or home.is_relative_to(target)


def place_files(paths: list[str]) -> tuple[list[Placement], Skipped]:
    """Split and class folder of each file, and the files that stand outside of both.

    A data set has split folders where one of its top folders bears such a name; then files elsewhere do not count. It
    may lie in a wrapper, and parts of the body may stand above the classes: see `train.audit.levels`.
    """
    counting = list(filter(_is_no_table, paths))
    levels = find_levels(counting)
    placements: list[Placement] = []
    misplaced: Skipped = []
    for path in counting:
        folders = path.split("/")[:-1]
        split = None
        if levels.split is not None:
            split = split_of(folders[levels.split]) if len(folders) > levels.split else None
            if split is None:
                misplaced.append((path, "outside of the split folders"))
                continue
        if len(folders) <= levels.class_:
            misplaced.append((path, "in no class folder"))
        else:
            placements.append(Placement(path, split, class_of(folders[levels.class_]), patient_of(folders)))
    return placements, misplaced


def _is_no_table(path: str) -> bool:
    """A table beside the images is about them, and neither one of them nor left out."""
    return not path.lower().endswith(".csv")
