"""The gate: may an int8 file take the place of the trained network? Limits on the figures of parity, and a verdict.

Figures within their limits are not enough: with few radiographs they would be so by chance. A file passes where the
upper 95 % bound on the share of changed decisions keeps the limit too, as 0 of 149 does for 2 % and 0 of 598 for 0.5 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edge_runtime.errors import GateError
from export.limits import Limits
from export.parity.measures import FLOAT32, NOT_JUDGED, FileParity, Parity, upper_bound

PASSED, FAILED, TOO_SMALL = "passed", "failed", "too small"

_WORST_FIRST = (FAILED, TOO_SMALL, PASSED)
_ROUNDING = 1e-9  # 0.99 - 0.98 is 0.010000000000000009 in float64: a figure at its limit keeps it
_MOST_RADIOGRAPHS = 10_000_000  # a claim that needs more is out of reach


@dataclass(frozen=True)
class Check:
    """One figure against its limit."""

    says: str  # what the figure is, and between what, as a sentence without its end
    figure: float | None  # None where it cannot be known: no labels, or one class
    limit: float  # the largest that passes

    @property
    def kept(self) -> bool:
        """Whether the figure keeps its limit, or is unknown. A figure that is no number does not keep it."""
        return self.figure is None or self.figure <= self.limit + _ROUNDING


def checks(one: FileParity, limits: Limits) -> tuple[Check, ...]:
    """Every limit beside the figure of a file: of decisions per radiograph, of probabilities per image."""
    changed = one.radiograph_decisions_changed
    rate = changed / one.radiographs
    return (
        Check(f"the AUC changed by {_signed(one.radiograph_auc_change)}", _size(one.radiograph_auc_change), limits.auc),
        Check(f"{changed} of {one.radiographs} decisions changed ({rate:.2%})", rate, limits.changed),
        Check(
            f"a decision changed where the network's probability was {one.furthest_changed:.3f} from the threshold",
            one.furthest_changed,
            limits.distance,
        ),
        Check(
            f"the 99th percentile of the change of probability is {one.percentile_99_difference:.3f}",
            one.percentile_99_difference,
            limits.percentile_99,
        ),
        _proportion("sensitivity", one.float_sensitivity, one.sensitivity, limits.sensitivity),
        _proportion("specificity", one.float_specificity, one.specificity, limits.specificity),
    )


def judge(parity: Parity, limits: Limits, independent: bool) -> Parity:
    """The same figures with the verdict of each int8 file and of the bundle, which is that of its worst file.

    Args:
        parity: as measured.
        limits: of the gate.
        independent: the images had no part in making the files. Others cannot carry a claim, however many.
    """
    files = tuple(one if one.precision == FLOAT32 else _judge_file(one, limits, independent) for one in parity.files)
    verdicts = {one.verdict for one in files}
    worst = next((verdict for verdict in _WORST_FIRST if verdict in verdicts), NOT_JUDGED)
    return replace(parity, files=files, verdict=worst, limits=None if worst == NOT_JUDGED else limits.to_dict())


def require_passed(parity: Parity, table: str) -> None:
    """Refuses a bundle with a file that failed.

    Args:
        parity: as judged.
        table: its figures and reasons, for people.

    Raises:
        GateError: a file did.
    """
    if parity.verdict == FAILED:
        raise GateError(
            f"int8 does not decide as the trained network does on the {parity.measured_on}.\n{table}\n"
            "No bundle was written. Try --budget-minutes 30, which adds fine-tuning, another --recipe or other "
            "calibration images; --force writes it, marked failed"
        )


def radiographs_needed(changed: int, limit: float) -> int | None:
    """The smallest number of radiographs of which so many may change while the upper bound keeps the limit."""
    if limit <= 0:
        return None
    low, high = changed, max(1, 2 * changed)
    while upper_bound(changed, high) > limit:
        low, high = high, 2 * high
        if high > _MOST_RADIOGRAPHS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_bound(changed, middle) > limit else (low, middle)
    return high


def _judge_file(one: FileParity, limits: Limits, independent: bool) -> FileParity:
    all_checks = checks(one, limits)
    broken = tuple(f"{check.says}; the limit is {check.limit:g}" for check in all_checks if not check.kept)
    if broken:
        return replace(one, verdict=FAILED, reasons=broken)
    doubts = _doubts(one, limits, independent)
    return replace(one, verdict=TOO_SMALL if doubts else PASSED, reasons=doubts)


def _doubts(one: FileParity, limits: Limits, independent: bool) -> tuple[str, ...]:
    """Why figures within their limits do not carry the claim; empty where they do."""
    doubts = []
    if not independent:
        doubts.append("the images that judged it calibrated it too; give others with --evaluate DIR")
    if one.changed_bound > limits.changed:
        needed = radiographs_needed(one.radiograph_decisions_changed, limits.changed)
        carried = "no number of radiographs" if needed is None else f"{needed} radiographs"
        doubts.append(
            f"{one.radiograph_decisions_changed} of {one.radiographs} decisions changed, so up to "
            f"{one.changed_bound:.2%} may (95 % bound; the limit is {limits.changed:.2%}); "
            f"{carried} with as many changed would carry the claim"
        )
    return tuple(doubts)


def _proportion(name: str, before: float | None, after: float | None, limit: float) -> Check:
    if before is None or after is None:
        return Check(f"the {name} is unknown", None, limit)
    return Check(f"the {name} is {after:.3f}, the network's {before:.3f}", abs(after - before), limit)


def _size(change: float | None) -> float | None:
    return None if change is None else abs(change)


def _signed(change: float | None) -> str:
    return "an unknown amount" if change is None or math.isnan(change) else f"{change:+.4f}"
