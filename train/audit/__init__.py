"""The audit: what is in a data set, which files show one radiograph, and splits that keep each on one side.

Needs no Keras; training rests on it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.audit.grouping import group_images
    from train.audit.inventory import ImageRecord, Inventory, Unreadable, take_inventory
    from train.audit.splitting import LeakMatrix, leak_matrix, split_by_folders, split_by_group

__all__ = [
    "ImageRecord",
    "Inventory",
    "LeakMatrix",
    "Unreadable",
    "group_images",
    "leak_matrix",
    "split_by_folders",
    "split_by_group",
    "take_inventory",
]

_HOMES = {
    "group_images": "grouping",
    **dict.fromkeys(("ImageRecord", "Inventory", "Unreadable", "take_inventory"), "inventory"),
    **dict.fromkeys(("LeakMatrix", "leak_matrix", "split_by_folders", "split_by_group"), "splitting"),
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `edge-audit --help` must not wait for scipy.
    if name not in _HOMES:
        raise AttributeError(f"module 'train.audit' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"train.audit.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
