"""Which files show one radiograph: groups that may never be split."""

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
