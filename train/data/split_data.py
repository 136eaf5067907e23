"""A data set ready to train on: audited, grouped, split, decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError, GateError
from edge_runtime.spec import ModelSpec
from train import phantom
from train.audit import (
    Inventory,
    LeakMatrix,
    group_images,
    leak_matrix,
    split_by_folders,
    split_by_group,
    take_inventory,
)
from train.audit.grouping import group_by_links, keep_together
from train.audit.levels import COVERAGE, SPLITS
from train.audit.patients import with_groups
from train.audit.wording import counted
from train.config import TrainConfig
from train.data.boxes import boxes_of_rows
from train.data.image_cache import cache_images
from train.figures.conformal import one_of_each, require_enough

NAMES = (*SPLITS, COVERAGE)


@dataclass(frozen=True)
class SplitData:
    """n files with labels, groups and splits, and the m different pictures that they hold."""

    inventory: Inventory  # n records, and the files left out
    groups: NDArray[np.int64]  # (n,): files of one radiograph share a number
    patients: NDArray[np.int64]  # (n,): files of one patient do, as far as patients are told; else as groups
    splits: NDArray[np.str_]  # (n,): one of NAMES
    leak: LeakMatrix  # what stands on two sides of the split
    images_u8: NDArray[np.uint8]  # (m, S, S), memory-mapped
    row_of_record: NDArray[np.int64]  # (n,): picture of each file
    labels: NDArray[np.int64]  # (n,): 0 or 1
    boxes: Mapping[int, NDArray[np.float32]]  # (k, 4) in pixels of the square by picture, where boxes are told

    @property
    def leaks(self) -> bool:
        """Whether any radiograph stands in two splits."""
        return self.leak.leaking_groups > 0

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that occur, in the order of NAMES."""
        return tuple(split for split in NAMES if split in self.splits)

    def records_in(self, split: str) -> NDArray[np.int64]:
        """Numbers of the records in a split, in order of path."""
        return np.flatnonzero(self.splits == split)

    def pictures_in(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(rows, labels) of the different pictures in a split: identical copies count once."""
        records = self.records_in(split)
        rows, first = np.unique(self.row_of_record[records], return_index=True)
        return rows, self.labels[records][first]


def load_split_data(
    root: Path,
    config: TrainConfig,
    make_spec: Callable[[tuple[str, str]], ModelSpec],
    progress: Callable[[str, int, int], None],
) -> SplitData:
    """The audited, split and decoded data set.

    Args:
        root: folder of the data set.
        config: split, seed and positive class.
        make_spec: spec of the network from the labels (negative, positive).
        progress: called with (stage, done, total).

    Raises:
        DataError: nothing can be trained on it.
        GateError: the split leaks, and the leak was not accepted.
    """
    inventory = with_groups(
        take_inventory(root, config.positive, progress), Path(config.groups) if config.groups else None
    )
    # Phantoms are independent by construction: only files copied from one another can be one.
    groups = group_by_links(inventory, ()) if is_phantoms(root) else group_images(inventory, progress)
    together = keep_together(inventory, groups)
    splits = (
        split_by_folders(inventory)
        if config.split == "folders"
        else split_by_group(inventory, together, config.seed, config.fractions, _aside(config))
    )
    labels = np.array([record.label for record in inventory.records], np.int64)
    _check_classes(np.array(splits), labels, inventory)
    if config.coverage is not None:
        aside = np.array(splits) == COVERAGE
        found = np.bincount(labels[aside][one_of_each(together[aside], labels[aside])], minlength=2)
        require_enough((int(found[0]), int(found[1])), config.coverage, inventory.labels)
    leak = leak_matrix(splits, together)
    _check_leak(leak, config)
    cached = cache_images(inventory, make_spec(inventory.labels), lambda done, total: progress("resizing", done, total))
    boxes = boxes_of_rows(inventory, cached.row_of_record, config.image_size, config.aspect)
    return SplitData(
        inventory, groups, together, np.array(splits), leak, cached.images_u8, cached.row_of_record, labels, boxes
    )


def is_phantoms(root: Path) -> bool:
    """Whether a folder is an embedded data set, drawn by `train.phantom`."""
    return (root / phantom.DATASET_JSON).is_file()


def _aside(config: TrainConfig) -> float:
    return 0.0 if config.coverage is None else config.coverage_fraction


def _check_classes(splits: NDArray[np.str_], labels: NDArray[np.int64], inventory: Inventory) -> None:
    for split in SPLITS:
        for label, name in enumerate(inventory.labels):
            if not np.any((splits == split) & (labels == label)):
                raise DataError(
                    f"{inventory.root}: the {split} split has no image of class {name!r}; every split needs both"
                )


def _check_leak(leak: LeakMatrix, config: TrainConfig) -> None:
    if leak.leaking_groups and not config.accept_leak:
        found = counted(leak.leaking_groups, "radiograph is", "radiographs are")
        raise GateError(
            f"the split leaks: {found} shared between splits "
            f"({', '.join(leak.splits)}). Use --split grouped, or --accept-leak to train anyway: every figure is then "
            "marked `leaked`"
        )
