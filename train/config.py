"""Everything that decides how a run comes out, in one record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from train.models import find_network

SPLITS = ("grouped", "folders")


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn anew in every epoch; all uniform in plus or minus the value."""

    rotation_degrees: float = 20.0  # about the centre
    shift: float = 0.08  # fraction of the side
    zoom: float = 0.10  # fraction of the scale
    flip: bool = True  # left-right and up-down, each with probability 1/2


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run.

    Raises:
        DataError: there is no network of that name.
    """

    model: str  # name in the table train.models.NETWORKS
    split: str = "grouped"  # one of SPLITS
    accept_leak: bool = False  # train on a split whose test images stand in train too
    epochs: int = 10  # passes over the training images; of fine-tuning too
    batch_size: int = 32  # images
    image_size: int = 224  # S, pixels
    aspect: str = "pad"  # see ModelSpec.aspect
    alpha: float = 1.0  # width of MobileNetV2
    weights: str = "imagenet"  # of MobileNetV2: `imagenet`, `none` or a path
    learning_rate: float = 1e-3  # Adam, of the CNN, of the head, and of a network trained from random values
    fine_tune_rate: float = 1e-4  # Adam, of the upper blocks
    draws: int = 4  # augmented draws of each training image whose features are cached; see train.fit.transfer
    augmentation: Augmentation = Augmentation()
    groups: str | None = None  # CSV that tells which files show one patient; None: as far as DICOM files tell
    positive: str | None = None  # class folder that means fractured; None: recognised by its name
    calibration_images: int = 200  # training images kept for quantisation
    threshold: float = 0.5  # a probability at or above it is positive
    seed: int = 0  # of everything random
    demo: bool = False  # train on the embedded data set

    def __post_init__(self) -> None:
        find_network(self.model)

    @classmethod
    def from_options(cls, rotation: float, shift: float, zoom: float, flip: bool, **settings: Any) -> TrainConfig:
        """A configuration from the flat options of the command."""
        return cls(augmentation=Augmentation(rotation, shift, zoom, flip), **settings)

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)
