"""Which files show one radiograph, and which one patient: groups that may never be split."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from train.audit.copies.links import Link, find_links
from train.audit.inventory import Inventory, Progress


def group_images(inventory: Inventory, progress: Progress | None = None) -> NDArray[np.int64]:
    """Group of each record, int64 (n,), numbered from 0 in the order of the records.

    Files with identical pixels are one group, and so are copies that were rotated, mirrored, resized, lightly cropped,
    re-encoded or changed in brightness. The second call on the same files is instant: links are cached.

    Raises:
        DependencyError: the nearest-neighbour library is not installed.
    """
    return group_by_links(inventory, find_links(inventory, progress))


def group_by_links(inventory: Inventory, links: Iterable[Link]) -> NDArray[np.int64]:
    """Group of each record, int64 (n,), from identical pixels and accepted links."""
    parent = {record.pixels_sha256: record.pixels_sha256 for record in inventory.records}

    def find(image: str) -> str:
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for link in links:
        if link.accepted:
            parent[find(link.second)] = find(link.first)
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(find(record.pixels_sha256), len(numbers)) for record in inventory.records]
    return np.array(groups, np.int64)


def keep_together(inventory: Inventory, radiographs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group of each record, int64 (n,), with all radiographs of one patient in one, as far as patients are told.

    Args:
        inventory: n records.
        radiographs: int64 (n,), as `group_images` tells them apart.
    """
    parent = {int(radiograph): int(radiograph) for radiograph in radiographs}

    def find(group: int) -> int:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    first: dict[str, int] = {}
    for record, radiograph in zip(inventory.records, radiographs.tolist(), strict=True):
        if record.patient is not None:
            parent[find(radiograph)] = find(first.setdefault(record.patient, radiograph))
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(find(group), len(numbers)) for group in radiographs.tolist()], np.int64)
