"""The embedded data set: synthetic radiographs, fractured and not, from a seed.

It exists so that every step, from training to a verified int8 file, runs on a fresh machine without a
single real radiograph. A network trained on it knows nothing about real bones.
"""

from train.phantom.dataset import DATASET_JSON, GENERATOR_VERSION, SPLITS, write_dataset
from train.phantom.fracture import KINDS
from train.phantom.scene import SITE_RECTANGLE, Phantom, draw

__all__ = ["DATASET_JSON", "GENERATOR_VERSION", "KINDS", "SITE_RECTANGLE", "SPLITS", "Phantom", "draw", "write_dataset"]
