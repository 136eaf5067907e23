"""Everything that decides how a run comes out, in one record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MODELS = ("cnn", "mobilenetv2")
SPLITS = ("grouped", "folders")


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn anew in every epoch; all uniform in plus or minus the value."""

    rotation_degrees: float = 20.0  # about the centre
    shift: float = 0.08  # fraction of the side
    zoom: float = 0.10  # fraction of the scale
    flip: bool = True  # left-right and up-down, each with probability 1/2


# What trains on the embedded data set within minutes on two cores. Its breaks are thin at 96 pixels: strong
# augmentation would hide them from a network trained for so short.
DEMO_SETTINGS: dict[str, dict[str, Any]] = {
    "cnn": {"image_size": 96, "epochs": 10, "rotation": 6.0, "shift": 0.02, "zoom": 0.05},
    "mobilenetv2": {
        **{"image_size": 96, "epochs": 15, "rotation": 0.0, "shift": 0.0, "zoom": 0.0},
        **{"alpha": 0.35, "weights": "none", "learning_rate": 6e-3},
    },
}


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run."""

    model: str  # one of MODELS
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
    draws: int = 4  # augmented draws of each training image whose features are cached; see features.py
    augmentation: Augmentation = Augmentation()
    positive: str | None = None  # class folder that means fractured; None: recognised by its name
    calibration_images: int = 200  # training images kept for quantisation
    threshold: float = 0.5  # a probability at or above it is positive
    seed: int = 0  # of everything random
    demo: bool = False  # train on the embedded data set

    @classmethod
    def from_options(cls, rotation: float, shift: float, zoom: float, flip: bool, **settings: Any) -> TrainConfig:
        """A configuration from the flat options of the command."""
        return cls(augmentation=Augmentation(rotation, shift, zoom, flip), **settings)

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)
