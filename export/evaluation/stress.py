"""How answers hold when images are changed: a rotation curve, and tests for shortcuts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from edge_runtime.images import read_grey
from edge_runtime.spec import ModelSpec
from export.evaluation.changes import BORDER, Change
from export.evaluation.figures import FEWEST_OF_A_CLASS
from export.evaluation.judging import Answer, Judge, judge_all
from export.evaluation.subjects import Progress, Subject, Subjects, patients_of
from train.figures.differences import holm
from train.figures.roc import compare_areas, delong
from train.metrics import UNDEFINED, Z_95, Estimate, per_group, wilson

_SHOWN = 0.05  # p value below which something is shown


@dataclass(frozen=True)
class StressRow:
    """One change of the images, and what it did to the answers."""

    test: str  # what it looks at
    setting: str  # how much
    images: int  # that got an answer both as they are and changed
    radiographs: int  # that they show
    auc: Estimate  # of changed images, per radiograph, DeLong; not defined without labels
    auc_change: Estimate  # from the same images unchanged, paired DeLong
    decisions_changed: Estimate  # share of images, Wilson
    abstained: float  # share of changed images that are no radiographs for the gate
    p: float | None = None  # that AUC stays, or of border alone is 0.5, Holm over all rows; None: too few radiographs
    remark: str = ""  # what it gives away, empty where nothing is shown

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class _Changed:
    """A network that looks at changed images."""

    judge: Judge
    change: Change

    @property
    def spec(self) -> ModelSpec:
        """Of the network."""
        return self.judge.spec

    @property
    def sha256(self) -> str:
        """Of the network's file."""
        return self.judge.sha256

    def answer(self, source: Path | bytes) -> tuple[float, bool, str]:
        """As `Judge.answer`, of the changed image."""
        stream = io.BytesIO()
        # A PNG keeps every grey: the network's own way of reading and resizing follows.
        Image.fromarray(self.change.apply(read_grey(source))).save(stream, "PNG", compress_level=1)
        return self.judge.answer(stream.getvalue())


def stress(
    subjects: Subjects,
    answers: Sequence[Answer],
    judge: Judge,
    changes: Sequence[Change],
    progress: Progress,
    part: Path,
) -> list[StressRow]:
    """A row for each change.

    Args:
        subjects: images that are changed.
        answers: to them as they are, in their order.
        judge: the network that decides.
        changes: what is done to them.
        progress: called with (stage, done, total).
        part: file that keeps answers until the evaluation is whole; each change has one of its own.
    """
    rows = []
    for number, change in enumerate(changes):
        own = part.with_name(f"{part.name}.{number}")
        name = f"{change.test} {change.setting}"
        found = judge_all(
            subjects, {name: _Changed(judge, change)}, own, lambda _, *done, name=name: progress(name, *done)
        )
        rows.append(_row(change, subjects.images, answers, found, judge.spec.threshold))
    return _remarked(rows)


def some_of(subjects: Subjects, answers: Sequence[Answer], most: int) -> tuple[Subjects, list[Answer]]:
    """At most so many images that got an answer, one a radiograph, by content, both classes as equal as can be."""
    order = sorted(range(len(answers)), key=lambda row: (subjects.images[row].sha256, subjects.images[row].path))
    first: dict[int, int] = {}
    for row in order:
        if answers[row].probabilities:
            first.setdefault(subjects.images[row].group, row)
    positive = [row for row in first.values() if subjects.images[row].label == 1]
    others = [row for row in first.values() if subjects.images[row].label != 1]
    few = min(len(positive), max(most // 2, most - len(others)))
    rows = sorted([*positive[:few], *others[: most - few]])
    chosen = Subjects(
        subjects.root,
        tuple(subjects.images[row] for row in rows),
        *((), subjects.origin, subjects.patients_unknown),
    )
    return chosen, [answers[row] for row in rows]


def _row(
    change: Change, images: Sequence[Subject], before: Sequence[Answer], after: Sequence[Answer], threshold: float
) -> StressRow:
    rows = [row for row, answer in enumerate(after) if answer.probabilities and before[row].probabilities]
    first = np.array([_probability(before[row]) for row in rows])
    second = np.array([_probability(after[row]) for row in rows])
    groups = np.array([images[row].group for row in rows], np.int64)
    labels = np.array([-1 if images[row].label is None else images[row].label for row in rows], np.int64)
    patients = patients_of([images[row] for row in rows], groups) if rows else None
    area, moved, p_value = _areas(change, labels, (first, second), groups, patients)
    changed = int(((first >= threshold) != (second >= threshold)).sum())
    return StressRow(
        *(change.test, change.setting, len(rows), len(np.unique(groups)), area, moved),
        wilson(changed, len(rows)),
        float(np.mean([after[row].abstained for row in rows])) if rows else 0.0,
        p_value,
    )


def _probability(answer: Answer) -> float:
    return next(iter(answer.probabilities.values()))


def _areas(
    change: Change,
    labels: NDArray[np.int64],
    answers: tuple[NDArray[np.float64], NDArray[np.float64]],
    groups: NDArray[np.int64],
    patients: NDArray[np.int64] | None,
) -> tuple[Estimate, Estimate, float | None]:
    """(area of the changed images, how far it moved, p value that nothing is given away) per radiograph."""
    if set(labels.tolist()) != {0, 1}:
        return UNDEFINED, UNDEFINED, None
    before, after = answers
    of_radiographs, changed = per_group(labels, after, groups)
    area = delong(of_radiographs, changed, patients)
    paired = compare_areas(of_radiographs, changed, per_group(labels, before, groups)[1], patients)
    if paired is None:
        return area, UNDEFINED, None
    positives = int(of_radiographs.sum())
    if min(positives, of_radiographs.size - positives) < FEWEST_OF_A_CLASS:
        return area, paired.difference, None
    return area, paired.difference, _above_chance(area) if change.test == BORDER else paired.p


def _above_chance(area: Estimate) -> float | None:
    """The one-sided p value of an area of 0.5 at most."""
    if area.value is None or area.low is None or area.high is None:
        return None
    error = max(area.value - area.low, area.high - area.value) / Z_95  # one end may be cut off at 0 or 1
    return float(norm.sf((area.value - 0.5) / error)) if error else float(area.value <= 0.5)


def _remarked(rows: Sequence[StressRow]) -> list[StressRow]:
    """The rows with p values for all looks, and what is shown."""
    known = [row for row in rows if row.p is not None]
    corrected = dict(zip(map(id, known), holm([row.p for row in known if row.p is not None]), strict=True))
    told = [replace(row, p=corrected.get(id(row))) for row in rows]
    return [replace(row, remark=_remark(row)) for row in told]


def _remark(row: StressRow) -> str:
    if row.p is None or row.p >= _SHOWN:
        return ""
    if row.test == BORDER:
        return "tells fractures without the bone"
    return f"{'worse' if (row.auc_change.value or 0.0) < 0 else 'better'} than unchanged"
