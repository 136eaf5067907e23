"""Everything that decides how a run comes out, in one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_runtime.errors import DataError
from train.models import find_network

TRAINING_VERSION = 2  # of networks and of how they learn: raise it where the same settings make another network

SPLITS = ("grouped", "folders")
HEADS = ("map", "pooled")  # of pretrained networks, see train.networks.heads


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training images, drawn anew in every epoch; all uniform in plus or minus the value."""

    rotation_degrees: float = 20.0  # about the centre
    shift: float = 0.08  # fraction of the side
    zoom: float = 0.10  # fraction of the scale
    flip: bool = True  # left-right and up-down, each with probability 1/2
    any_angle: float = 0.0  # of the images, how many are turned by any angle in place of a small one, and shrunk


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run.

    Raises:
        DataError: there is no network of that name, or settings contradict each other.
    """

    model: str  # name in the table train.models.NETWORKS
    split: str = "grouped"  # one of SPLITS
    accept_leak: bool = False  # train on a split whose test images stand in train too
    epochs: int = 10  # passes over the training images; of fine-tuning too
    batch_size: int = 32  # images
    image_size: int = 224  # S, pixels
    aspect: str = "pad"  # see ModelSpec.aspect
    alpha: float = 1.0  # width of MobileNetV2
    weights: str = "imagenet"  # of networks that can be pretrained: `imagenet`, `none` or a path
    head: str = "map"  # of the same: `map` or `pooled`, see train.networks.heads
    learning_rate: float = 1e-3  # Adam, of networks trained from random values
    fine_tune_rate: float = 3e-4  # AdamW, highest, of the upper part of a pretrained network
    draws: int = 6  # augmented draws of each training image whose features are cached; see train.fit.transfer
    augmentation: Augmentation = Augmentation()
    groups: str | None = None  # CSV that tells which files show one patient; None: as far as DICOM files tell
    positive: str | None = None  # class folder that means fractured; None: recognised by its name
    calibration_images: int = 200  # training images kept for quantisation
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)  # of the radiographs: train, validation, test
    coverage: float | None = None  # share of each class whose class is left open: abstains accordingly; None: never
    coverage_fraction: float = 0.15  # of the radiographs, set aside for that alone before the others are split
    sensitivity: float | None = None  # that the threshold keeps on validation radiographs; None: Youden's index chooses
    specificity: float | None = None  # likewise; of both one at most
    seed: int = 0  # of everything random
    demo: bool = False  # train on the embedded data set
    refit: str | None = None  # finished run whose settings these are; every image trains, see train.refit

    def __post_init__(self) -> None:
        network = find_network(self.model)
        for name, needed in network.random_settings.items() if network.is_random(self.weights) else ():
            if getattr(self, name) != needed:
                raise DataError(
                    f"--{name} {getattr(self, name)}: random weights, --weights {self.weights}, go with "
                    f"--{name} {needed}"
                )
        if self.sensitivity is not None and self.specificity is not None:
            raise DataError("--sensitivity and --specificity: the threshold can keep one of them, not both")
        if self.coverage is not None and self.split != "grouped":
            raise DataError("--coverage: needs --split grouped, which sets radiographs aside for it")
        if self.draws < 1 or min(self.fractions) <= 0 or abs(sum(self.fractions) - 1.0) > 1e-6:
            raise DataError(f"--fractions {self.fractions}: three numbers above 0 whose sum is 1 were expected")

    @classmethod
    def from_options(cls, **options: Any) -> TrainConfig:
        """A configuration from the flat options of the command."""
        own = {
            "rotation": "rotation_degrees",
            "shift": "shift",
            "zoom": "zoom",
            "flip": "flip",
            "any_angle": "any_angle",
        }
        augmentation = Augmentation(**{name: options.pop(option) for option, name in own.items()})
        return cls(augmentation=augmentation, **options)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TrainConfig:
        """The configuration that a dict describes.

        Raises:
            TypeError: a key is unknown.
        """
        values = dict(record)
        values |= {
            "augmentation": Augmentation(**values["augmentation"]),
            "fractions": tuple(values["fractions"]),
        }
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)
