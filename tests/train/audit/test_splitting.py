"""Splits keep groups whole, and the leak matrix counts what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import DataError
from train.audit import (
    ImageRecord,
    Inventory,
    leak_matrix,
    split_by_folders,
    split_by_group,
    take_inventory,
)
from train.audit.grouping import group_by_links


def make_inventory(groups: int, copies: int = 3) -> Inventory:
    records = tuple(
        ImageRecord(f"{g:04}_{c}.png", f"{g:032x}{c:032x}", f"{g:064x}", g % 3 == 0, None, 1, 1, 1, "L", "PNG")
        for g in range(groups)
        for c in range(copies)
    )
    return Inventory(Path("x"), records, (), ("no", "yes"))


def test_no_group_stands_in_two_splits_and_labels_are_stratified() -> None:
    inventory = make_inventory(200)
    groups = group_by_links(inventory, ())
    splits = split_by_group(inventory, groups, seed=1)
    leak = leak_matrix(splits, groups)
    assert leak.leaking_groups == 0
    assert [leak.groups[i][i] for i in range(3)] == [140, 30, 30]
    labels = np.array([record.label for record in inventory.records])
    for split in ("train", "val", "test"):
        assert abs(labels[np.array(splits) == split].mean() - labels.mean()) < 0.02


def test_split_depends_on_seed_and_content_not_on_order_or_names() -> None:
    inventory = make_inventory(60)
    groups = group_by_links(inventory, ())
    splits = split_by_group(inventory, groups, seed=1)
    turned = replace(inventory, records=tuple(replace(r, path=f"z{i}") for i, r in enumerate(inventory.records[::-1])))
    assert split_by_group(turned, group_by_links(turned, ()), seed=1) == splits[::-1]
    assert split_by_group(inventory, groups, seed=2) != splits


@pytest.mark.parametrize("groups", [6, 7, 9, 11])
def test_each_class_is_in_each_split_of_a_tiny_set(groups: int) -> None:
    inventory = make_inventory(groups + 3)
    splits = split_by_group(inventory, group_by_links(inventory, ()), seed=0)
    labels = [record.label for record in inventory.records]
    assert {(s, y) for s, y in zip(splits, labels, strict=True)} == {
        (s, y) for s in ("train", "val", "test") for y in (0, 1)
    }


def test_too_few_radiographs_are_refused() -> None:
    inventory = make_inventory(4)
    with pytest.raises(DataError, match="independent"):
        split_by_group(inventory, group_by_links(inventory, ()), seed=0)


def test_fractions_that_do_not_add_up_are_refused() -> None:
    inventory = make_inventory(60)
    with pytest.raises(DataError, match="fractions"):
        split_by_group(inventory, group_by_links(inventory, ()), seed=0, fractions=(0.5, 0.1, 0.1))


def test_leak_matrix_counts_files_and_groups() -> None:
    leak = leak_matrix(["train", "train", "test", "test", "test"], np.array([0, 1, 0, 0, 2]))
    assert leak.splits == ("train", "test")
    assert leak.files == ((2, 1), (2, 3))
    assert leak.groups == ((2, 1), (1, 2))
    assert leak.leaking_groups == 1
    assert leak.to_dict()["files"]["test"]["train"] == 2


def test_folders_are_needed_to_split_by_folders(data: Path) -> None:
    with pytest.raises(DataError, match="--split grouped"):
        split_by_folders(take_inventory(data))


def test_what_is_set_aside_for_coverage_is_whole_groups_of_both_classes_and_in_no_other_split() -> None:
    inventory = make_inventory(300)
    groups = group_by_links(inventory, ())
    splits = split_by_group(inventory, groups, 1, coverage=0.2)
    leak = leak_matrix(splits, groups)
    assert leak.splits == ("train", "val", "test", "coverage") and leak.leaking_groups == 0
    assert [leak.groups[i][i] for i in range(4)] == [168, 36, 36, 60]
    labels = np.array([record.label for record in inventory.records])
    aside = np.array(splits) == "coverage"
    assert labels[aside].mean() == labels.mean()
