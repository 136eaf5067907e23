"""The gate: may an int8 file take the place of the trained network? Limits on the figures of parity, and a verdict.

What data can tell decides. The share of changed decisions passes where it keeps its limit and the upper 95 % bound lies
within CLAIM, fails where the lower bound lies beyond the limit, and is `too small` between. AUC, sensitivity and
specificity must not be shown worse: a file fails where the whole 95 % interval of the change, paired, lies beyond the
limit; one flipped fracture of 70 shows nothing. Probabilities are many: their 99th percentile is held to its limit as
it is, and so is how far from the threshold a decision may change. Under shifts of the images, the worst one must not be
shown to change more decisions than its limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edge_runtime.bundle import FLOAT32
from edge_runtime.errors import GateError
from export.limits import Limits
from export.parity.measures import NOT_JUDGED, FileParity, Parity, lower_bound, upper_bound

PASSED, FAILED, TOO_SMALL = "passed", "failed", "too small"
CLAIM = 0.02  # share of changed decisions that the upper 95 % bound has to exclude, or the limit where that is wider

_MEANINGS = {
    PASSED: "On these images the int8 files keep every limit of the gate, and the images are enough to say so: "
    "they decide as the trained network does. That says nothing of how well the network knows fractures.",
    FAILED: "On these images an int8 file is shown to break a limit of the gate: it does not decide as the trained "
    "network does, and should not take its place.",
    TOO_SMALL: "No limit of the gate is shown to be broken, but the images are too few to say that the int8 files "
    "decide as the trained network does.",
    NOT_JUDGED: "There is no int8 file to judge: float files give the trained network's probabilities, up to rounding.",
}
_WORST_FIRST = (FAILED, TOO_SMALL, PASSED)
_ROUNDING = 1e-9  # 0.99 - 0.98 is 0.010000000000000009 in float64: a figure at its limit keeps it
_MOST_RADIOGRAPHS = 10_000_000  # a claim that needs more is out of reach


@dataclass(frozen=True)
class Check:
    """One figure against its limit."""

    says: str  # what the figure is, and between what, as a sentence without its end
    figure: float | None  # None where it cannot be known: no labels, or one class
    limit: float  # the largest that passes
    shown: bool | None = None  # whether data show the limit broken, beyond chance; None: a figure beyond it shows that

    @property
    def kept(self) -> bool:
        """Whether the figure keeps its limit, or is unknown. A figure that is no number does not keep it."""
        return self.figure is None or self.figure <= self.limit + _ROUNDING

    @property
    def broken(self) -> bool:
        """Whether the file fails by it."""
        return not self.kept if self.shown is None else self.shown


def checks(one: FileParity, limits: Limits) -> tuple[Check, ...]:
    """Every limit beside the figure of a file, as it was measured, and whether that shows the limit broken.

    Of decisions per radiograph, of probabilities per image.
    """
    changed = one.radiograph_decisions_changed
    rate = changed / one.radiographs
    return (
        _not_worse(
            f"the AUC changed by {_signed(one.radiograph_auc_change)}",
            _size(one.radiograph_auc_change),
            limits.auc,
            one.auc_change_interval,
        ),
        Check(
            f"{changed} of {one.radiographs} decisions changed ({rate:.2%})",
            rate,
            limits.changed,
            shown=lower_bound(changed, one.radiographs) > limits.changed,
        ),
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
        _not_worse(
            *_proportion("sensitivity", one.float_sensitivity, one.sensitivity),
            limits.sensitivity,
            one.sensitivity_change_interval,
        ),
        _not_worse(
            *_proportion("specificity", one.float_specificity, one.specificity),
            limits.specificity,
            one.specificity_change_interval,
        ),
        *_under_shift(one, limits),
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


def meaning_of(verdict: str) -> str:
    """A verdict in one sentence, for people who read it on a page."""
    return _MEANINGS[verdict]


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


def radiographs_needed(changed: int, radiographs: int, limit: float) -> int | None:
    """How many radiographs would decide about the share of changed decisions, were it the same; None: no number would.

    Args:
        changed: decisions.
        radiographs: that they were counted on.
        limit: of the share.
    """
    share = changed / radiographs
    keeps = share <= limit + _ROUNDING

    def decides(count: int) -> bool:
        as_many = round(share * count)
        return upper_bound(as_many, count) <= max(limit, CLAIM) if keeps else lower_bound(as_many, count) > limit

    high = radiographs
    while not decides(high):
        low, high = high, 2 * high
        if high > _MOST_RADIOGRAPHS:
            return None
    while high > radiographs and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def _under_shift(one: FileParity, limits: Limits) -> tuple[Check, ...]:
    """The worst shift that the file was measured on; none where it was measured on none."""
    if not one.shifts:
        return ()
    worst = max(one.shifts, key=lambda shift: shift.share)
    changed, radiographs = worst.decisions_changed, worst.radiographs
    says = f"under the shift {worst.shift!r}, {changed} of {radiographs} decisions changed ({worst.share:.2%})"
    is_shown = lower_bound(changed, radiographs) > limits.under_shift
    return (Check(says, worst.share, limits.under_shift, shown=is_shown),)


def _judge_file(one: FileParity, limits: Limits, independent: bool) -> FileParity:
    broken = _broken(one, limits)
    if broken:
        return replace(one, verdict=FAILED, reasons=broken)
    doubts = _doubts(one, limits, independent)
    return replace(one, verdict=TOO_SMALL if doubts else PASSED, reasons=doubts)


def _broken(one: FileParity, limits: Limits) -> tuple[str, ...]:
    """The limits that the file is shown to break, a sentence each."""
    return tuple(f"{check.says}; the limit is {check.limit:g}" for check in checks(one, limits) if check.broken)


def _doubts(one: FileParity, limits: Limits, independent: bool) -> tuple[str, ...]:
    """Why the figures do not carry the claim; empty where they do."""
    doubts = []
    if not independent:
        doubts.append("the images that judged it calibrated it too; give others with --evaluate DIR")
    changed, radiographs = one.radiograph_decisions_changed, one.radiographs
    keeps = changed / radiographs <= limits.changed + _ROUNDING
    if not keeps or one.changed_bound > max(limits.changed, CLAIM):
        needed = radiographs_needed(changed, radiographs, limits.changed)
        decided = "no number of radiographs would decide" if needed is None else f"{needed} radiographs would decide"
        bound = (
            f"so up to {one.changed_bound:.2%} may (95 % bound; {max(limits.changed, CLAIM):.2%} has to be excluded)"
            if keeps
            else f"more than the limit of {limits.changed:.2%}, which chance may have done"
        )
        doubts.append(f"{changed} of {radiographs} decisions changed, {bound}; at this share {decided}")
    return tuple(doubts)


def _not_worse(says: str, figure: float | None, limit: float, interval: tuple[float, float] | None) -> Check:
    """A figure that breaks its limit where the whole interval of its change lies beyond, or it is no number."""
    is_no_number = figure is not None and math.isnan(figure)
    return Check(says, figure, limit, shown=is_no_number or (interval is not None and interval[1] < -limit))


def _proportion(name: str, before: float | None, after: float | None) -> tuple[str, float | None]:
    """(what it is, how far it moved)."""
    if before is None or after is None:
        return f"the {name} is unknown", None
    return f"the {name} is {after:.3f}, the network's {before:.3f}", abs(after - before)


def _size(change: float | None) -> float | None:
    return None if change is None else abs(change)


def _signed(change: float | None) -> str:
    return "an unknown amount" if change is None or math.isnan(change) else f"{change:+.4f}"
