"""The audit: what is in a data set, which files show one radiograph, and splits that keep each on one side.

Needs no Keras; training rests on it.
"""

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
