"""The limits of the gate: how far an int8 file may be from the trained network. Each is an option of the commands."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any


def _limit(default: float | None, says: str) -> Any:
    """A limit and what the help of its option says."""
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class Limits:
    """The largest value that each figure may have and still pass."""

    # Either way, per radiograph.
    auc: float = _limit(0.005, "Largest change of the AUC.")
    changed: float = _limit(0.02, "Largest share of radiographs whose decision changes.")
    # To the network's own probability.
    distance: float = _limit(0.20, "Largest distance from the threshold at which a decision may change.")
    # Per image.
    percentile_99: float = _limit(0.10, "Largest 99th percentile of the change of probability.")
    # At the threshold, either way, per radiograph.
    sensitivity: float = _limit(0.01, "Largest change of the sensitivity.")
    specificity: float = _limit(0.01, "Largest change of the specificity.")

    # Of radiographs, on images of the worst shift; None: twice `changed`.
    shift: float | None = _limit(
        None, "Largest share of radiographs whose decision changes under a shift. [default: twice --limit-changed]"
    )

    @property
    def under_shift(self) -> float:
        """The largest share of radiographs whose decision may change under a shift."""
        return min(1.0, _SHIFTED * self.changed) if self.shift is None else self.shift

    def to_dict(self) -> dict[str, float]:
        """A dict of plain JSON types."""
        return {**asdict(self), "shift": self.under_shift}

    @property
    def asks_for_aim(self) -> bool:
        """Whether int8 is to come as near as good recipes can, at the price of time on the device."""
        aim = PRESETS["aim"]
        return self.changed <= aim.changed or self.percentile_99 <= aim.percentile_99


_SHIFTED = 2.0  # times the limit of images as they are
_MARGIN = 0.5  # share of each limit that a recipe ought to stay below

# What `--gate` names: what every bundle has to keep, and what good recipes reach.
PRESETS = {"default": Limits(), "aim": Limits(auc=0.002, changed=0.005, distance=0.10, percentile_99=0.03)}

# No recipe is good enough before it reaches the aim; of the percentile some more, since other images will judge it.
_GOAL = replace(PRESETS["aim"], percentile_99=0.025)
_WHOLE = ("sensitivity", "specificity")  # half a point is less than one decision of the few hundred that there are


def goal_of(limits: Limits) -> Limits:
    """What a recipe has to keep on validation images for no other to be tried: half of each limit, and the aim.

    Of sensitivity and specificity it is the whole limit.
    """
    shares = {name: limit * (1.0 if name in _WHOLE else _MARGIN) for name, limit in limits.to_dict().items()}
    del shares["shift"]  # recipes are chosen on images as they are
    return Limits(**{name: min(share, getattr(_GOAL, name)) for name, share in shares.items()})


def limits_of(preset: str, **given: float | None) -> Limits:
    """The limits of a preset, those that were given in place of its own.

    Args:
        preset: of PRESETS.
        given: limits by name; None keeps the preset's.
    """
    return replace(PRESETS[preset], **{name: value for name, value in given.items() if value is not None})
