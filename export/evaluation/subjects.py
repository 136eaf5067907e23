"""The images of an evaluation: where they lie, what is known of each, and which show one radiograph."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from edge_runtime.images import find_images
from export.inputs.run_reader import open_network
from train.audit import group_images, take_inventory
from train.audit.classes import is_class_word
from train.audit.grouping import keep_together
from train.audit.patients import unknown, with_groups
from train.metrics import first_of_each

INDEX = "index.csv"
RESERVED = ("path", "sha256", "group", "label", "split")  # columns that we fill ourselves

Progress = Callable[[str, int, int], None]  # (stage, done, total)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """One image to be judged."""

    path: str  # relative to the folder, posix
    sha256: str  # of the file, hexadecimal
    group: int  # the same for images of one radiograph
    label: int | None  # 1 positive, 0 negative; None: not told
    split: str  # of a run, or empty
    columns: Mapping[str, str] = field(default_factory=dict)  # of index.csv
    patient: int | None = None  # whose it is, as far as told


@dataclass(frozen=True)
class Subjects:
    """All images of an evaluation."""

    root: Path  # that the paths are relative to
    images: tuple[Subject, ...]  # in order of path
    left_out: tuple[tuple[str, str], ...]  # (path, why)
    origin: str  # for people: `test split of the run`, `folder`
    patients_unknown: str  # a sentence, empty where they are told
    leaked: bool = False  # some of their radiographs trained the network, as far as the run knows


def subjects_of_run(run: Path, data: Path | None) -> Subjects:
    """The test split of a run.

    Args:
        run: folder that edge-train wrote.
        data: folder of its radiographs, where they have moved.

    Raises:
        DataError: there is no test split, or an image of it is not there.
    """
    network = open_network(run, None, data)
    root = network.data_root
    if root is None or not network.test:
        raise DataError(f"{run}: a run folder with a test split was expected")
    columns = _index_of(root)
    missing = [image.path for image in network.test if not (root / image.path).is_file()]
    if missing:
        raise DataError(
            f"{root / missing[0]}: an image of the run is not there; say where the data are with --data DIR"
        )
    images = [
        Subject(
            *(image.path, image.sha256, image.group, image.label, "test", columns.get(image.path, {})), image.patient
        )
        for image in network.test
    ]
    return Subjects(root, _by_path(images), (), "test split of the run", "", network.leaked)


def subjects_of_folder(folder: Path, groups: Path | None, positive: str | None, progress: Progress) -> Subjects:
    """The images of a folder, with labels where it has class folders, grouped by radiograph.

    Args:
        folder: of images or DICOM files.
        groups: CSV with columns path and group: files of one patient.
        positive: class folder that means fractured, where it cannot be recognised.
        progress: called with (stage, done, total).

    Raises:
        DataError: there is no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    if not (positive or any(is_class_word(path.name) for path in folder.rglob("*") if path.is_dir())):
        return _unlabelled(folder)
    inventory = with_groups(take_inventory(folder, positive, progress), groups)
    radiographs, columns = group_images(inventory, progress), _index_of(folder)
    patients = keep_together(inventory, radiographs)
    images = [
        Subject(
            *(record.path, record.sha256, group, record.label, record.split or "", columns.get(record.path, {})),
            patient,
        )
        for record, group, patient in zip(inventory.records, radiographs.tolist(), patients.tolist(), strict=True)
    ]
    left_out = tuple((item.path, item.why) for item in inventory.unreadable)
    return Subjects(folder, _by_path(images), left_out, "folder", unknown(inventory))


def patients_of(images: Sequence[Subject], groups: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Of each group of images (n,), in order of its number; None where each group has a patient of its own."""
    patients = np.array([image.group if image.patient is None else image.patient for image in images], np.int64)
    of_groups = first_of_each(groups, patients)
    return None if np.unique(of_groups).size == of_groups.size else of_groups


def _unlabelled(folder: Path) -> Subjects:
    log.warning("%s: no class folders: the images have no labels, and get no figure that needs one", folder)
    columns, number_of, images = _index_of(folder), dict[str, int](), []
    for path in find_images([folder]):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(folder).as_posix()
        group = number_of.setdefault(digest, len(number_of))
        images.append(Subject(name, digest, group, None, "", columns.get(name, {})))
    if not images:
        raise DataError(f"{folder}: no image files found in this folder")
    return Subjects(folder, _by_path(images), (), "folder without labels", "patients unknown")


def _by_path(images: list[Subject]) -> tuple[Subject, ...]:
    return tuple(sorted(images, key=lambda image: image.path))


def _index_of(root: Path) -> dict[str, dict[str, str]]:
    """Columns of index.csv by path; none where there is no such table."""
    table = root / INDEX
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        rows = csv.DictReader(stream)
        if "path" not in (rows.fieldnames or ()):
            return {}
        return {
            row["path"]: {name: value or "" for name, value in row.items() if name and name not in RESERVED}
            for row in rows
        }
