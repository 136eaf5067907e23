"""Train, validation and test by folder, or with every radiograph on one side only; and the leak between them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError
from train.audit.inventory import ImageRecord, Inventory
from train.audit.levels import COVERAGE, SPLITS
from train.audit.wording import counted

FRACTIONS = (0.7, 0.15, 0.15)  # of the radiographs: train, val, test


@dataclass(frozen=True)
class LeakMatrix:
    """How many radiographs stand in two splits at once; row and column order is `splits`."""

    splits: tuple[str, ...]  # those that occur, in the order train, val, test, coverage
    files: tuple[tuple[int, ...], ...]  # [a][b]: files in a whose group has a file in b; [a][a]: all files in a
    groups: tuple[tuple[int, ...], ...]  # [a][b]: groups with files in both a and b; [a][a]: all groups in a

    @property
    def leaking_groups(self) -> int:
        """The largest number of groups that any two splits share; 0: nothing leaks."""
        size = len(self.splits)
        return max((self.groups[a][b] for a in range(size) for b in range(size) if a != b), default=0)

    def to_dict(self) -> dict[str, Any]:
        """{`files`: {split: {split: count}}, `groups`: the same}."""
        return {
            name: {
                row: dict(zip(self.splits, counts, strict=True)) for row, counts in zip(self.splits, table, strict=True)
            }
            for name, table in (("files", self.files), ("groups", self.groups))
        }


def split_by_folders(inventory: Inventory) -> list[str]:
    """Split of each record, as the data set's own folders have it.

    Raises:
        DataError: the data set has class folders alone.
    """
    splits = [record.split for record in inventory.records if record.split is not None]
    if len(splits) < len(inventory.records):
        raise DataError(f"{inventory.root} has no {', '.join(SPLITS)} folders: use --split grouped")
    return splits


def split_by_group(
    inventory: Inventory,
    groups: NDArray[np.int64],
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
    coverage: float = 0.0,
) -> list[str]:
    """Split of each record: whole groups, stratified by label, the fractions counted in groups.

    The same files give the same split whatever their names and order: a keyed hash of their content shuffles groups.

    Args:
        inventory: n records.
        groups: int64 (n,), group of each record.
        seed: of the shuffle.
        fractions: of train, val and test; their sum is 1.
        coverage: set aside before, for a split of that name.

    Raises:
        DataError: the fractions do not add up, or a class has fewer than three independent radiographs.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"fractions of train, val and test are positive and add up to 1, not {fractions}")
    split_of_group: dict[int, str] = {}
    strata = _strata(inventory.records, groups, seed)
    mixed = len(strata.get(_MIXED, ()))  # patients with both, who are of each class
    for stratum, members in strata.items():
        if len(members) + mixed < len(SPLITS) and stratum != _MIXED:
            found = counted(len(members), "independent radiograph")
            raise DataError(f"{inventory.labels[stratum]!r} has {found}; at least {len(SPLITS)} are needed to split")
        aside = round(len(members) * coverage)
        others = _allot(len(members) - aside, fractions)
        split_of_group.update(zip(members, [*others, *[COVERAGE] * aside], strict=True))
    return [split_of_group[group] for group in groups.tolist()]


_MIXED = -1  # stratum of groups whose files bear both labels


def _strata(records: Sequence[ImageRecord], groups: NDArray[np.int64], seed: int) -> dict[int, list[int]]:
    """Groups of each label, in shuffled order."""
    labels: defaultdict[int, set[int]] = defaultdict(set)
    contents: defaultdict[int, str] = defaultdict(lambda: "g")  # sorts behind every hexadecimal digit
    for record, group in zip(records, groups.tolist(), strict=True):
        labels[group].add(record.label)
        contents[group] = min(contents[group], record.sha256)
    order = sorted(contents, key=lambda group: hashlib.sha256(f"{seed}:{contents[group]}".encode()).digest())
    strata: dict[int, list[int]] = {0: [], 1: []}
    for group in order:
        stratum = labels[group].pop() if len(labels[group]) == 1 else _MIXED
        strata.setdefault(stratum, []).append(group)
    return strata


def _allot(count: int, fractions: tuple[float, float, float]) -> list[str]:
    """A split for each of count shuffled groups; each split gets at least one where count allows."""
    held_out = [max(1, round(count * fraction)) if count >= len(SPLITS) else 0 for fraction in fractions[1:]]
    train = count - sum(held_out)
    return [split for split, size in zip(SPLITS, (train, *held_out), strict=True) for _ in range(size)]


def leak_matrix(splits: Sequence[str], groups: NDArray[np.int64]) -> LeakMatrix:
    """How many files and groups each two splits share.

    Args:
        splits: of each of n files.
        groups: int64 (n,), group of each file.
    """
    names = tuple(split for split in (*SPLITS, COVERAGE) if split in set(splits))
    splits_of_group: defaultdict[int, set[str]] = defaultdict(set)
    for split, group in zip(splits, groups.tolist(), strict=True):
        splits_of_group[group].add(split)
    files = {(a, b): 0 for a in names for b in names}
    shared = dict(files)
    for split, group in zip(splits, groups.tolist(), strict=True):
        for other in splits_of_group[group]:
            files[split, other] += 1
    for present in splits_of_group.values():
        for a in present:
            for b in present:
                shared[a, b] += 1
    return LeakMatrix(names, _square(names, files), _square(names, shared))


def _square(names: tuple[str, ...], counts: dict[tuple[str, str], int]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(counts[row, column] for column in names) for row in names)
