"""The table of networks. Adding one is an entry here, beside a file in `train/networks/` that builds it.

The command's choices, its defaults and the demonstration's settings, the building and the fitting all read this table.
It imports neither Keras nor a network: `edge-train --help` answers at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import DataError


@dataclass(frozen=True)
class Network:
    """One entry: how a network is made and trained. Settings are those of `TrainConfig.from_options`."""

    title: str  # as people write it
    builder: str  # `module:function`; (image_size, *options by name) -> keras.Model, as `train.networks` describes it
    fitting: str  # `module:function`; (keras.Model, train.fit.task.Task) -> list of EpochRecord; trains in place
    options: tuple[str, ...] = ()  # settings that the builder takes beside the image size
    random_options: tuple[str, ...] = ("learning_rate",)  # that fitting takes from random values alone
    pretrained_options: tuple[str, ...] = ()  # that it takes from pretrained weights alone
    random_settings: Mapping[str, Any] = field(default_factory=dict)  # values that random weights need
    cut: str | None = None  # layer above which a pretrained network is fine-tuned; its output is what gets cached
    defaults: Mapping[str, Any] = field(default_factory=dict)  # settings where they differ from the command's
    demo: Mapping[str, Any] = field(default_factory=dict)  # settings that train on the embedded data set in minutes

    def is_random(self, weights: str) -> bool:
        """Whether it starts from random values.

        Args:
            weights: the setting of that name, which is left alone where the network has none.
        """
        return "weights" not in self.options or weights == "none"

    def takes(self, option: str, weights: str) -> bool:
        """Whether a setting that not every network takes changes anything of this one.

        Args:
            option: name of the setting.
            weights: as above.
        """
        return option in (*self.options, *(self.random_options if self.is_random(weights) else self.pretrained_options))


# How pretrained networks learn best: see docs/experiments.md.
_TRANSFER: Mapping[str, Any] = {"image_size": 448, "rotation": 15.0, "any_angle": 0.33, "shift": 0.05, "epochs": 4}

# The demonstration's breaks are thin at 96 pixels: strong augmentation would hide them from a network trained for so
# short.
_RANDOM_DEMO: Mapping[str, Any] = {
    **{"image_size": 96, "rotation": 0.0, "any_angle": 0.0, "shift": 0.0, "zoom": 0.0},
    **{"weights": "none", "head": "pooled"},
}

NETWORKS: dict[str, Network] = {
    "cnn": Network(
        title="CNN",
        builder="train.networks.cnn:build_cnn",
        fitting="train.fit.whole:fit_on_grid",
        demo={"image_size": 96, "epochs": 10, "rotation": 6.0, "shift": 0.02, "zoom": 0.05},
    ),
    "mobilenetv2": Network(
        title="MobileNetV2",
        builder="train.networks.mobilenetv2:build_mobilenetv2",
        fitting="train.fit.transfer:fit_pretrained_or_random",
        options=("alpha", "weights", "head"),
        pretrained_options=("draws", "fine_tune_rate"),
        random_settings={"head": "pooled"},  # the map is taught on features of pretrained layers
        defaults=_TRANSFER,
        cut="block_6_project_BN",  # (S/16, S/16, 64) at alpha 1
        demo={
            **_RANDOM_DEMO,
            **{"epochs": 15, "alpha": 0.35, "learning_rate": 6e-3},
        },
    ),
    "efficientnetlite0": Network(
        title="EfficientNet-Lite0",
        builder="train.networks.efficientnet_lite0:build_efficientnet_lite0",
        fitting="train.fit.transfer:fit_pretrained_or_random",
        options=("weights", "head"),
        pretrained_options=("draws", "fine_tune_rate"),
        random_settings={"head": "pooled"},
        defaults={**_TRANSFER, "epochs": 6},  # after 4 it still learns
        cut="block_5_project_BN",  # (S/16, S/16, 80)
        demo={**_RANDOM_DEMO, "epochs": 15, "learning_rate": 3e-3},
    ),
}


def find_network(name: str) -> Network:
    """The entry of that name.

    Raises:
        DataError: there is none.
    """
    if name not in NETWORKS:
        raise DataError(f"--model {name}: no such network; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def refuse_untaken(name: str, given: Iterable[str], weights: str) -> None:
    """Refuses settings that would change nothing of this network.

    Args:
        name: of the network.
        given: names of the settings that a user gives.
        weights: the setting of that name.

    Raises:
        DataError: it does not take one of them.
    """
    network = find_network(name)
    of_some = {
        option for one in NETWORKS.values() for option in (*one.options, *one.random_options, *one.pretrained_options)
    }
    untaken = sorted(option for option in given if option in of_some and not network.takes(option, weights))
    if untaken:
        start = f" --weights {weights}" if "weights" in network.options else ""
        names = ", ".join(f"--{option.replace('_', '-')}" for option in untaken)
        raise DataError(f"{names}: --model {name}{start} does not take {'them' if len(untaken) > 1 else 'it'}")


def load(place: str) -> Callable[..., Any]:
    """The function at `module:function`."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
