"""The limits of the gate: how far an int8 file may be from the trained network. Each is an option of edge-export."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Limits:
    """The largest value that each figure may have and still pass."""

    auc: float = 0.005  # change of the area under the ROC curve, either way, per radiograph
    changed: float = 0.02  # share of radiographs whose decision changed
    distance: float = 0.20  # from the threshold to the network's probability, where a decision changed
    percentile_99: float = 0.10  # 99th percentile of the change of probability, per image
    sensitivity: float = 0.01  # change at the threshold, either way, per radiograph
    specificity: float = 0.01  # change at the threshold, either way, per radiograph

    def to_dict(self) -> dict[str, float]:
        """A dict of plain JSON types."""
        return asdict(self)

    @property
    def asks_for_aim(self) -> bool:
        """Whether int8 is to come as near as good recipes can, at the price of time on the device."""
        aim = PRESETS["aim"]
        return self.changed <= aim.changed or self.percentile_99 <= aim.percentile_99


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
    return Limits(**{name: min(share, getattr(_GOAL, name)) for name, share in shares.items()})


def limits_of(preset: str, **given: float | None) -> Limits:
    """The limits of a preset, those that were given in place of its own.

    Args:
        preset: of PRESETS.
        given: limits by name; None keeps the preset's.
    """
    return replace(PRESETS[preset], **{name: value for name, value in given.items() if value is not None})
