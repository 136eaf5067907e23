"""What edge-train leaves behind: a folder that appears whole or not at all.

While training runs, everything stands in a hidden sibling folder, which `--resume` continues.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.spec import ModelSpec
from train.config import TrainConfig
from train.data.split_data import SplitData

PACKAGES = ("fracture-edge", "tensorflow", "keras", "numpy", "pillow", "scikit-learn")
_STATE = "state"  # of training, inside the unfinished folder; not part of a run


@dataclass(frozen=True)
class UnfinishedRun:
    """A run folder in the making."""

    target: Path  # where it will stand
    folder: Path  # where it is being made

    @property
    def state(self) -> Path:
        """Folder for the state of training."""
        return self.folder / _STATE

    def discard_unless_begun(self) -> None:
        """Removes the folder where training has not begun: there is nothing in it that could be resumed."""
        if not self.state.exists():
            shutil.rmtree(self.folder)

    def publish(self) -> None:
        """Lets the run appear at its target."""
        shutil.rmtree(self.state, ignore_errors=True)
        (self.folder / _STARTED).unlink()
        os.rename(self.folder, self.target)


_STARTED = "started.json"  # the settings that an unfinished run began with


def open_unfinished_run(target: Path, config: TrainConfig, data_root: Path | None, resume: bool) -> UnfinishedRun:
    """A new unfinished run, or the one that stands there already.

    Raises:
        DataError: the target exists, there is nothing to resume, or other settings would be continued.
    """
    target = target.absolute()
    run = UnfinishedRun(target, target.with_name(f".{target.name}.unfinished"))
    settings = json.loads(json.dumps({"config": config.to_dict(), "data_root": str(data_root) if data_root else None}))
    if target.exists():
        raise DataError(f"{target}: exists already; give another --out or remove it")
    if run.folder.exists() and not resume:
        raise DataError(f"{run.folder}: an unfinished run; continue it with --resume, or remove it")
    if resume:
        if not (run.folder / _STARTED).is_file():
            raise DataError(f"{target}: no unfinished run of that name; start it without --resume")
        if json.loads((run.folder / _STARTED).read_text()) != settings:
            raise DataError(f"{run.folder}: was begun with other settings; give the same ones to --resume")
        return run
    run.folder.mkdir(parents=True)
    write_json(run.folder / _STARTED, settings)
    return run


def write_json(path: Path, record: Any) -> None:
    """Writes a record as indented JSON, beside its place first."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def write_run_json(folder: Path, config: TrainConfig, data_root: Path, leaked: bool) -> None:
    """`run.json`: everything needed to make the run again."""
    record = {
        "config": config.to_dict(),
        "data_root": str(data_root),
        "demo": config.demo,
        "seed": config.seed,
        "leaked": leaked,
        "versions": {package: version(package) for package in PACKAGES},
    }
    write_json(folder / "run.json", record)


def write_split(folder: Path, data: SplitData) -> None:
    """`split.csv`: every readable file with hash, label, group and split."""
    with (folder / "split.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256", "label", "group", "split"])
        for record, group, split in zip(data.inventory.records, data.groups.tolist(), data.splits, strict=True):
            writer.writerow([record.path, record.sha256, record.label, group, split])


def write_calibration(folder: Path, data: SplitData, spec: ModelSpec, count: int, seed: int) -> None:
    """`calibration/`: preprocessed training images for quantisation, half of each class, one a radiograph."""
    target = folder / "calibration"
    target.mkdir()
    rows = []
    for number, record_number in enumerate(choose_calibration(data, count, seed)):
        record = data.inventory.records[record_number]
        path = target / f"calibration_{number:04d}.png"
        Image.fromarray(data.images_u8[data.row_of_record[record_number]]).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append([path.name, digest, record.label, int(data.groups[record_number]), record.path, record.sha256])
    with (target / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256", "label", "group", "source", "source_sha256"])
        writer.writerows(rows)


def choose_calibration(data: SplitData, count: int, seed: int) -> list[int]:
    """Numbers of training records, sorted: one of each group, classes alike as far as there are enough."""
    records = data.records_in("train")
    # A radiograph that stands in another split too must not choose the ranges that it is then judged with.
    elsewhere = set(data.groups[data.splits != "train"].tolist())
    rng = np.random.default_rng([seed, 1])
    shuffled = rng.permutation(records)
    _, first = np.unique(data.groups[shuffled], return_index=True)
    candidates = shuffled[np.sort(first)]
    alone = np.array([data.groups[record] not in elsewhere for record in candidates])
    if alone.sum() >= min(count, candidates.size) // 2:
        candidates = candidates[alone]
    by_class = [candidates[data.labels[candidates] == label] for label in (0, 1)]
    wanted = _share(count, [members.size for members in by_class])
    return sorted(int(record) for members, size in zip(by_class, wanted, strict=True) for record in members[:size])


def _share(count: int, available: list[int]) -> list[int]:
    """How many of each class: half each, the rest from the other where one has fewer."""
    half = count // 2
    first = min(available[0], max(half, count - available[1]))
    return [first, min(available[1], count - first)]
