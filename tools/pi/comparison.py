"""What one model file answered on an emulated processor: beside this machine's answers, and before the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import FLOAT32
from export.limits import Limits
from export.parity.engine_answers import Answers
from export.parity.gate import FAILED, judge
from export.parity.measures import FLOAT_TOLERANCE, EvaluationSet, FileParity, compare_answers, summarise

REPEATABLE = "litert"  # the engine whose int8 answers have to be the same bits everywhere
# Of fewer images the AUC says nothing: of ten, one pair that changes places moves it by 0.04, and the limit is 0.005.
FEWEST_TO_RANK = 100


@dataclass(frozen=True)
class Row:
    """One model file on one processor."""

    network: str  # name in the spec
    file: str  # of the model
    precision: str  # `float32` or `int8`
    engine: str  # that ran it
    system: str  # release and Python that it ran on
    processor: str  # emulated
    images: int  # compared
    identical: int  # answers with the same bits as the same file's on this machine
    largest: float  # difference of probability to the same file on this machine
    decisions_changed: int  # against the same file on this machine
    changed_to_float: int  # decisions, against the float file on this machine
    percentile_99_to_float: float  # 99th percentile of the difference to that float file
    verdict: str  # of the gate, against that float file; `not judged` of a float file itself
    reasons: tuple[str, ...]  # for a verdict that is not `passed`
    peak_mb: float  # memory of the process, the emulator's own included

    @property
    def passed(self) -> bool:
        """Float: within the tolerance. int8: not failed by the gate, and of LiteRT the same bits as here."""
        if self.precision == FLOAT32:
            return self.largest <= FLOAT_TOLERANCE
        return self.verdict != FAILED and (self.engine != REPEATABLE or self.identical == self.images)


def compare(
    where: dict[str, str],
    found: NDArray[np.float64],
    here: NDArray[np.float64],
    exact: NDArray[np.float64],
    threshold: float,
    peak_mb: float,
) -> Row:
    """The row of one file.

    Args:
        where: `network`, `file`, `precision`, `engine`, `system` and `processor` of the row.
        found: (N,), probabilities there; image i is fractured where i is odd.
        here: (N,), of the same file on this machine.
        exact: (N,), of the float file on this machine.
        threshold: probability from which on an image is positive.
        peak_mb: of the process there.
    """
    difference = np.abs(found - here)
    judged = _judged(where, found, exact, threshold)
    return Row(
        **where,
        images=found.size,
        identical=int((difference == 0).sum()),
        largest=float(difference.max()),
        decisions_changed=int(((found >= threshold) != (here >= threshold)).sum()),
        changed_to_float=judged.decisions_changed,
        percentile_99_to_float=judged.percentile_99_difference,
        verdict=judged.verdict,
        reasons=judged.reasons,
        peak_mb=peak_mb,
    )


def _judged(
    where: dict[str, str], found: NDArray[np.float64], exact: NDArray[np.float64], threshold: float
) -> FileParity:
    """The gate's verdict, with its default limits."""
    labels = np.arange(found.size) % 2 if found.size >= FEWEST_TO_RANK else None
    images = EvaluationSet("phantoms", np.zeros((found.size, 1, 1), np.uint8), labels, exact)
    answers = Answers(where["engine"], "", found.astype(np.float32), 0.0)
    one = compare_answers(where["file"], where["precision"], 0, threshold, answers, images)
    parity = summarise([one], threshold, images)
    return judge(parity, Limits(), independent=True).files[0]
