"""What edge-train leaves behind: a folder that appears whole or not at all.

While training runs, everything stands in a hidden sibling folder, `.NAME.unfinished`, which `--resume` continues: the
run itself in `run`, and beside it what is no part of it, the settings that it began with and the state of training. So
one rename makes the finished run appear. A lock on the folder, given back however the process ends, tells a living run.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_runtime.drafts import clear_drafts, draft_name, hold, is_draft, lock, remove
from edge_runtime.errors import DataError
from edge_runtime.whole_files import publish_folder, write_whole
from train.config import TRAINING_VERSION, TrainConfig
from train.data.split_data import SplitData

PACKAGES = ("fracture-edge", "tensorflow", "keras", "numpy", "pillow", "scikit-learn")
_RUN, _STATE, _SETTINGS = "run", "state", "settings.json"  # inside the unfinished folder
DATA = "data"  # folder of the demonstration's images, inside the run
_STARTED = "started.json"  # what earlier versions wrote in place of the settings, inside the run itself


@dataclass(frozen=True)
class UnfinishedRun:
    """A run folder in the making."""

    target: Path  # where it will stand
    around: Path  # folder of the run in the making, the state of training and the settings
    held: int | None  # descriptor with the lock on that folder; None where the file system has no locks

    @property
    def folder(self) -> Path:
        """Where the run is being made."""
        return self.around / _RUN

    @property
    def state(self) -> Path:
        """Folder for the state of training, which is not part of a run."""
        return self.around / _STATE

    @property
    def settings(self) -> Path:
        """File of the settings that the run began with."""
        return self.around / _SETTINGS

    def discard_unless_begun(self) -> None:
        """Removes the folder where training has not begun: there is nothing in it that could be resumed."""
        if not self.state.exists():
            self.discard()

    def discard(self) -> None:
        """Removes the folder: first its name, so that a kill leaves a draft, and not half of a run to resume."""
        draft = draft_name(self.target)
        os.rename(self.around, draft)
        remove(draft)

    def publish(self) -> None:
        """Lets the run appear at its target."""
        publish_folder(self.folder, self.target)
        self.discard()

    def release(self) -> None:
        """Gives the lock back."""
        if self.held is not None:
            os.close(self.held)


def open_unfinished_run(target: Path, config: TrainConfig, data_root: Path | None, resume: bool) -> UnfinishedRun:
    """A new unfinished run, or the one that stands there already; to be released in the end.

    Raises:
        DataError: the target exists, there is nothing to resume, other settings would be continued, or the run lives.
    """
    target = target.absolute()
    run = UnfinishedRun(target, target.with_name(f".{target.name}.unfinished"), None)
    root = str(data_root) if data_root else None
    settings = json.loads(
        json.dumps({"config": config.to_dict(), "data_root": root, "training_version": TRAINING_VERSION})
    )
    clear_drafts(target.parent)
    _refuse_foreign(run)
    if target.exists():
        _clear_after_publishing(run)
        raise DataError(f"{target}: exists already; give another --out or remove it")
    if resume and not run.settings.is_file():
        raise DataError(f"{target}: no unfinished run of that name; start it without --resume")
    run.around.mkdir(parents=True, exist_ok=True)
    run = replace(run, held=_hold(run.around))
    try:
        _begin(run, settings, resume)
    except BaseException:
        run.release()
        raise
    return run


def is_finished(target: Path, config: TrainConfig, data_root: Path | None) -> bool:
    """Whether a finished run of these settings stands at a target, as where a kill came just after it had appeared."""
    try:
        record = json.loads((target / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = json.loads(json.dumps(config.to_dict())) == record.get("config")
    return same and str(data_root.absolute() if data_root else target.absolute() / DATA) == record.get("data_root")


def _begin(run: UnfinishedRun, settings: dict[str, Any], resume: bool) -> None:
    if run.settings.is_file() and not resume:
        raise DataError(f"{run.around}: an unfinished run; continue it with --resume, or remove it")
    begun = json.loads(run.settings.read_text(encoding="utf-8")) if resume else settings
    if begun.get("training_version") != TRAINING_VERSION:
        raise DataError(
            f"{run.around}: begun by a version of edge-train that trains otherwise; remove it and start again"
        )
    if begun != settings:
        raise DataError(f"{run.around}: was begun with other settings; give the same ones to --resume")
    run.folder.mkdir(exist_ok=True)
    for path in run.folder.iterdir():
        if path.name != DATA:  # drawn whole; what else there is was written at the end, and will be again
            remove(path)
    if not resume:
        write_json(run.settings, settings)


def _refuse_foreign(run: UnfinishedRun) -> None:
    """Refuses an unfinished folder that is not laid out as ours is, or as this version's is."""
    if not run.around.exists():
        return
    names = {path.name for path in run.around.iterdir() if not is_draft(path)} if run.around.is_dir() else {""}
    if _STARTED in names:
        raise DataError(f"{run.around}: an unfinished run of an earlier version; remove it and start again")
    if {"run.json", "report.html"} <= names:
        raise DataError(
            f"{run.around}: a finished run, killed at its last step: mv {run.around} {run.target}, or remove it"
        )
    if not names <= {_RUN, _STATE, _SETTINGS}:
        raise DataError(f"{run.around}: is in the way and is not an unfinished run; give another --out or remove it")


def _clear_after_publishing(run: UnfinishedRun) -> None:
    """Removes what remains where a kill came just after a run had appeared."""
    if run.around.exists() and not run.folder.exists():
        held = lock(run.around)
        if held is not None:
            run.discard()
            os.close(held)


def _hold(folder: Path) -> int | None:
    """A descriptor that holds the lock on a folder; None where the file system has no locks.

    Raises:
        DataError: a living process holds it.
    """
    try:
        return hold(folder)
    except BlockingIOError as error:
        raise DataError(f"{folder}: another edge-train is at work on this run; wait for it, or stop it") from error


def write_json(path: Path, record: Any) -> None:
    """Writes a record as indented JSON, whole or not at all; file names in it that are no text are escaped."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def write_run_json(folder: Path, config: TrainConfig, data_root: Path, leaked: bool) -> None:
    """`run.json`: everything needed to make the run again."""
    record = {
        "config": config.to_dict(),
        "data_root": str(data_root),
        "demo": config.demo,
        "seed": config.seed,
        "leaked": leaked,
        "training_version": TRAINING_VERSION,
        "versions": {package: version(package) for package in PACKAGES},
    }
    write_json(folder / "run.json", record)


def write_split(folder: Path, data: SplitData) -> None:
    """`split.csv`: every readable file with hash, label, group (radiograph), split and patient, as far as told.

    Names that are no text keep their bytes.
    """
    with (folder / "split.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "sha256", "label", "group", "split", "patient"])
        numbers = zip(data.groups.tolist(), data.splits, data.patients.tolist(), strict=True)
        for record, columns in zip(data.inventory.records, numbers, strict=True):
            writer.writerow([record.path, record.sha256, record.label, *columns])


def write_calibration(folder: Path, data: SplitData, count: int, seed: int) -> None:
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
    with (target / "manifest.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
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
