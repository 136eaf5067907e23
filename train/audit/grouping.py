"""Which files show one radiograph: groups that may never be split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.audit.inventory import Inventory


def group_images(inventory: Inventory) -> NDArray[np.int64]:
    """Group of each record, int64 (n,), numbered from 0 in the order of the records.

    Files with identical bytes or identical pixels are one group.
    """
    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(record.pixels_sha256, len(numbers)) for record in inventory.records]
    return np.array(groups, np.int64)
