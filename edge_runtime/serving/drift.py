"""Do today's answers and images part from those that were usual? A day against a reference.

The reference is the bundle's, where its manifest has `answers`, else the first answers of this network on this device.
A day parts from it where probabilities, mean or deviation of the grey levels of decided images do, by the two-sample
test of Kolmogorov and Smirnov on tenths of their range, and so on the cautious side, or where the share of abstentions
does by the test of two proportions; each at one in a thousand.
No image and no identifier is looked at, and nothing leaves the device.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from operator import add
from typing import Any

from edge_runtime.serving.store import Store

TENTHS = 10  # bins of probability
FIRST = 200  # answers that make the device's own reference
LEAST = 30  # answers of a day before it is compared
_KS_LIMIT = 1.949  # c of the Kolmogorov-Smirnov test at one in a thousand: sqrt(-ln(0.0005) / 2)
_Z_LIMIT = 3.291  # two-sided normal quantile at one in a thousand
_AGAIN_S = 60.0  # seconds between two looks at the store


@dataclass(frozen=True)
class Answers:
    """How many answers there were, and which."""

    tenths: tuple[int, ...]  # decided images by probability: 0 to 0.1, and so on to 1
    abstained: int  # images without a decision
    brightness: tuple[int, ...] = ()  # decided images by mean grey level, tenths of 255; empty where not known
    contrast: tuple[int, ...] = ()  # likewise by the deviation of their grey levels, tenths of 127.5

    @property
    def decided(self) -> int:
        """Images that got a decision."""
        return sum(self.tenths)

    @property
    def all(self) -> int:
        """Images that got an answer."""
        return self.decided + self.abstained

    @property
    def abstained_share(self) -> float:
        """Of all answers, 0 to 1; 0 where there are none."""
        return self.abstained / self.all if self.all else 0.0

    def __add__(self, other: Answers) -> Answers:
        """Both together; of histograms, of which one is not known, the other."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Answers(*(_sum(one, another) for one, another in pairs))


_NONE = Answers((0,) * TENTHS, 0)


@dataclass(frozen=True)
class DayReport:
    """A day beside its reference."""

    day: str  # YYYY-MM-DD
    answers: int  # of the day
    tenths: tuple[int, ...]  # of the day's decided images
    abstained_share: float  # of the day, 0 to 1
    reference: str  # `bundle`, `device` or `none yet`
    reference_answers: int
    reference_abstained_share: float
    parted: tuple[str, ...]  # what parts from the reference, of `metrics.PARTS`

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        record = asdict(self)
        return record | {"tenths": list(self.tenths), "parted": list(self.parted)}


def parted(day: Answers, reference: Answers) -> tuple[str, ...]:
    """In what a day parts from its reference; nothing where either is too small to tell."""
    pairs = (
        ("probability", day.tenths, reference.tenths),
        ("brightness", day.brightness, reference.brightness),
        ("contrast", day.contrast, reference.contrast),
    )
    found = [name for name, one, other in pairs if _differ(one, other)]
    if min(day.all, reference.all) >= LEAST:
        share = (day.abstained + reference.abstained) / (day.all + reference.all)
        error = math.sqrt(share * (1 - share) * (1 / day.all + 1 / reference.all))
        if abs(day.abstained_share - reference.abstained_share) > _Z_LIMIT * error > 0:
            found.append("abstained")
    return tuple(found)


def _differ(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two histograms are of different distributions; not, where either is too small to tell."""
    many_one, many_other = sum(one), sum(other)
    if min(many_one, many_other) < LEAST:
        return False
    largest = below_one = below_other = 0.0
    for count_one, count_other in zip(one, other, strict=True):
        below_one += count_one / many_one
        below_other += count_other / many_other
        largest = max(largest, abs(below_one - below_other))
    return largest > _KS_LIMIT * math.sqrt(1 / many_one + 1 / many_other)


def counted(rows: Iterable[tuple[Any, ...]]) -> Answers:
    """The answers of a store.

    Args:
        rows: as `Store.answers_of` gives them.
    """
    abstained, histograms = 0, [[0] * TENTHS for _ in range(3)]
    for is_abstained, *tenths, count in rows:
        if is_abstained:
            abstained += count
            continue
        for histogram, tenth in zip(histograms, tenths, strict=True):
            if tenth is not None:
                histogram[tenth] += count
    probability, brightness, contrast = map(tuple, histograms)
    return Answers(probability, abstained, brightness, contrast)


def reference_to_dict(answers: Answers) -> dict[str, Any]:
    """`answers` of a manifest, plain JSON types, as `reference_in` reads it."""
    record = asdict(answers)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def reference_in(manifest: Mapping[str, Any]) -> Answers | None:
    """The reference of a bundle: `answers` in its manifest; None where it has none, or one that makes no sense."""
    given = manifest.get("answers")
    if not isinstance(given, dict) or not _is_count(given.get("abstained")):
        return None
    tenths, *others = (given.get(name) for name in ("tenths", "brightness", "contrast"))
    if not _is_histogram(tenths) or not all(other in (None, []) or _is_histogram(other) for other in others):
        return None
    return Answers(tuple(tenths or ()), given["abstained"], *(tuple(other or ()) for other in others))


def _sum(one: Any, other: Any) -> Any:
    if not isinstance(one, tuple):
        return one + other
    return tuple(map(add, one, other)) if one and other else one or other


def _is_histogram(given: Any) -> bool:
    return isinstance(given, list) and len(given) == TENTHS and all(map(_is_count, given))


def _is_count(given: Any) -> bool:
    return type(given) is int and given >= 0


class Drift:
    """Looks at the store now and then.

    Args:
        store: what was answered.
        model_sha256: of the network; answers of others do not count.
        reference: the bundle's, or None.
        tell: for a line to the log, once a day where the day parts from its reference.
    """

    def __init__(self, store: Store, model_sha256: str, reference: Answers | None, tell: Callable[[str], None]) -> None:
        self._store, self._model, self._reference, self._tell = store, model_sha256, reference, tell
        self._lock = threading.Lock()
        self._own: Answers | None = None  # the reference of this device, once there is one
        self._last: tuple[float, DayReport] | None = None
        self._told = ""  # the day that was told
        # Of that day up to that item, which will not change: a look reads what came since the last one.
        self._counted = "", 0, _NONE

    def today(self) -> DayReport:
        """Today beside its reference, not older than a minute.

        Raises:
            StorageError: the store cannot be read.
        """
        day = datetime.now().astimezone().date().isoformat()
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > _AGAIN_S or self._last[1].day != day:
                self._last = time.monotonic(), self._look(day)
            report = self._last[1]
            is_news = bool(report.parted) and self._told != day
            self._told = day if is_news else self._told
        if is_news:
            self._tell(f"drift: {' and '.join(report.parted)} of today's {report.answers} answers part from the usual")
        return report

    def _look(self, day: str) -> DayReport:
        found = self._answers_of(day)
        reference, source = self._usual()
        shares = found.abstained_share, reference.abstained_share
        return DayReport(
            day, found.all, found.tenths, shares[0], source, reference.all, shares[1], parted(found, reference)
        )

    def _answers_of(self, day: str) -> Answers:
        counted_day, after, before = self._counted
        if counted_day != day:
            after, before = 0, _NONE
        settled = self._store.settled()
        before += counted(self._store.answers_of(self._model, day, None, after, settled))
        self._counted = day, settled, before
        return before + counted(self._store.answers_of(self._model, day, None, settled))

    def _usual(self) -> tuple[Answers, str]:
        """The reference, and where it is from: the bundle's, or the device's own as soon as there is one."""
        if self._reference is not None:
            return self._reference, "bundle"
        if self._own is None:
            first = counted(self._store.answers_of(self._model, None, FIRST))
            if first.all < FIRST:
                return _NONE, "none yet"
            self._own = first
        return self._own, "device"
