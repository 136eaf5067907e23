"""One evaluation from images to a folder: predictions.csv, metrics.json, report.html."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines import AUTO
from edge_runtime.errors import DataError
from edge_runtime.predictor import Predictor
from edge_runtime.spec import ModelSpec
from edge_runtime.whole_files import require_replaceable, whole_folder
from export.evaluation.figures import (
    Figure,
    Radiographs,
    Subgroup,
    comparison,
    curves,
    figures_of,
    interactions,
    subgroups_of,
)
from export.evaluation.judging import PART, Answer, Judge, OnDevice, judge_all, judges_of
from export.evaluation.subjects import RESERVED, Progress, Subjects, subjects_of_folder, subjects_of_run
from train.metrics import per_group

log = logging.getLogger(__name__)

PREDICTIONS, METRICS, REPORT = "predictions.csv", "metrics.json", "report.html"
FORMAT = "edge-evaluate 1"  # of metrics.json
_SEVERAL = "several"  # value of a column whose files of one radiograph differ


@dataclass(frozen=True)
class EvaluationRequest:
    """What a user asks of one evaluation."""

    source: Path  # bundle, model file or run
    out: Path  # folder to write
    folder: Path | None = None  # of images; None: the test split of the run
    run: Path | None = None  # whose test split is judged, where the source is a bundle
    data: Path | None = None  # folder of the run's radiographs, where they have moved
    groups: Path | None = None  # CSV of patients
    positive: str | None = None  # class folder that means fractured
    by: tuple[str, ...] = ()  # columns of index.csv, for subgroups
    against: Path | None = None  # another network on the same images
    margin: float = 0.02  # of AUC, for non-inferiority against it
    prevalences: tuple[float, ...] = ()  # for predictive values
    engine: str = AUTO
    radiograph_gate: bool = True
    operating_point: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was found."""

    spec: ModelSpec
    judged_by: str  # name of the model file that decides
    model_sha256: str
    subjects: Subjects
    answers: list[Answer]
    radiographs: Radiographs | None  # of labelled images that got a probability; None: no labels, or one class
    heatmaps: Predictor | None = None  # that tells where it looked; None: it does not
    figures: list[Figure] = field(default_factory=list)
    subgroups: list[Subgroup] = field(default_factory=list)
    comparisons: dict[str, Any] = field(default_factory=dict)  # by the other model file

    @property
    def abstained(self) -> int:
        """Images that are no radiographs, for the gate."""
        return sum(answer.abstained for answer in self.answers)

    @property
    def failed(self) -> list[Answer]:
        """Images without an answer."""
        return [answer for answer in self.answers if not answer.probabilities]

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types: metrics.json."""
        given = [answer.probabilities[self.judged_by] for answer in self.answers if answer.probabilities]
        found: dict[str, Any] = {
            "format": FORMAT,
            "network": self.spec.name,
            "model": self.judged_by,
            "model_sha256": self.model_sha256,
            "threshold": self.spec.threshold,
            "images_from": self.subjects.origin,
            "images": len(self.answers),
            "failed": len(self.failed),
            "abstained": self.abstained,
            "left_out": [{"path": path, "why": why} for path, why in self.subjects.left_out],
            "patients": self.subjects.patients_unknown or "told",
            "probabilities": _distribution(np.array(given), self.spec.threshold),
        }
        if self.radiographs is not None:
            labels = self.radiographs.labels
            found |= {
                "radiographs": labels.size,
                "fractured": int(labels.sum()),
                "figures": {figure.name: figure.to_dict() for figure in self.figures},
                "subgroups": [row.to_dict() for row in self.subgroups],
                "interactions": interactions(self.subgroups),
                "comparisons": self.comparisons,
                **curves(self.radiographs),
            }
        return found


def evaluate(request: EvaluationRequest, progress: Progress) -> Evaluation:
    """Judges the images and writes the folder, whole or not at all.

    Raises:
        DataError: images or groups are missing or unfit, or `out` holds something else.
        ModelError: the model is missing, altered or unfit.
        DependencyError: no engine for it is installed.
    """
    require_replaceable(request.out, is_evaluation, f"--out {request.out}")
    judges = judges_of(request.source, request.engine, request.radiograph_gate, request.operating_point)
    if request.against is not None:
        judges |= _others(request, judges)
    subjects = _subjects(request, progress)
    unknown = sorted(set(request.by) - {name for image in subjects.images for name in image.columns})
    if unknown:
        raise DataError(f"--by {','.join(unknown)}: index.csv beside the images has no such column")
    unfinished = request.out.parent / f".{request.out.name}.unfinished"
    answers = judge_all(subjects, judges, unfinished / PART, progress)
    judged_by, *others = judges
    spec = judges[judged_by].spec
    decides = judges[judged_by]
    found = Evaluation(spec, judged_by, decides.sha256, subjects, answers, None, _heatmaps(decides))
    found = _with_figures(found, request, {name: judges[name].spec.threshold for name in others})
    with whole_folder(request.out, is_evaluation) as draft:
        _write_predictions(draft / PREDICTIONS, found)
        (draft / METRICS).write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        from export.evaluation.page import write_page

        write_page(draft / REPORT, found, request)
    shutil.rmtree(unfinished, ignore_errors=True)
    return found


def is_evaluation(folder: Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    try:
        ours = json.loads((folder / METRICS).read_bytes())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return ours and {path.name for path in folder.iterdir()} <= {PREDICTIONS, METRICS, REPORT}


def _heatmaps(judge: Judge) -> Predictor | None:
    return judge.predictor if isinstance(judge, OnDevice) and judge.predictor.has_heatmap else None


def _subjects(request: EvaluationRequest, progress: Progress) -> Subjects:
    if request.folder is not None:
        return subjects_of_folder(request.folder, request.groups, request.positive, progress)
    run = request.run or request.source
    if not (run / "split.csv").is_file():
        raise DataError("which images? Give a FOLDER, or --run RUN for the test split of a run")
    if request.groups or request.positive:
        raise DataError("--groups and --positive are for a FOLDER: a run knows its own groups and labels")
    return subjects_of_run(run, request.data)


def _others(request: EvaluationRequest, judges: Mapping[str, Judge]) -> dict[str, Judge]:
    """The network of --against, under a name of its own."""
    source = request.against or Path()
    name, judge = next(iter(judges_of(source, request.engine, False).items()))
    return {f"{source.name}/{name}" if name in judges or source.is_dir() else source.name: judge}


def _with_figures(found: Evaluation, request: EvaluationRequest, thresholds: Mapping[str, float]) -> Evaluation:
    rows = [row for row, answer in enumerate(found.answers) if answer.probabilities]
    images = [found.subjects.images[row] for row in rows]
    labels = np.array([-1 if image.label is None else image.label for image in images], np.int64)
    if set(labels.tolist()) != {0, 1}:
        log.warning("no figures: they need labelled images of both classes")
        return found
    groups = np.unique([image.group for image in images], return_inverse=True)[1]

    def of(name: str, threshold: float) -> Radiographs:
        probabilities = np.array([found.answers[row].probabilities[name] for row in rows])
        return Radiographs(*per_group(labels, probabilities, groups), threshold)

    radiographs = of(found.judged_by, found.spec.threshold)
    columns = {name: _by_radiograph([image.columns[name] for image in images], groups) for name in request.by}
    return replace(
        found,
        radiographs=radiographs,
        figures=figures_of(radiographs, request.prevalences),
        subgroups=subgroups_of(radiographs, columns),
        comparisons={
            name: comparison(radiographs, of(name, threshold), request.margin) for name, threshold in thresholds.items()
        },
    )


def _by_radiograph(values: Sequence[str], groups: NDArray[np.int64]) -> list[str]:
    """The value of each group; those whose files differ have `several`."""
    of_group: dict[int, set[str]] = {}
    for value, group in zip(values, groups.tolist(), strict=True):
        of_group.setdefault(group, set()).add(value)
    return [next(iter(found)) if len(found) == 1 else _SEVERAL for _, found in sorted(of_group.items())]


def _distribution(probabilities: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    if not probabilities.size:
        return {}
    quantiles = np.quantile(probabilities, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {
        "quantiles": dict(zip(("0.05", "0.25", "0.5", "0.75", "0.95"), quantiles.tolist(), strict=True)),
        "share_positive": float((probabilities >= threshold).mean()),
    }


def _write_predictions(path: Path, found: Evaluation) -> None:
    columns = list(dict.fromkeys(name for image in found.subjects.images for name in image.columns))
    others = [name for name in dict.fromkeys(name for answer in found.answers for name in answer.probabilities)]
    others = [name for name in others if name != found.judged_by]
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        head = [*RESERVED, "probability", *(f"probability of {name}" for name in others), "decision", "abstained"]
        writer.writerow([*head, "reason", *columns])
        for image, answer in zip(found.subjects.images, found.answers, strict=True):
            probability = answer.probabilities.get(found.judged_by)
            decision = "" if probability is None else str(int(probability >= found.spec.threshold))
            # repr keeps every digit: the figures can be counted again from the file, exactly.
            digits = ["" if p is None else repr(p) for p in (answer.probabilities.get(name) for name in others)]
            writer.writerow(
                [
                    *(image.path, image.sha256, image.group, "" if image.label is None else image.label, image.split),
                    *("" if probability is None else repr(probability), *digits, decision, int(answer.abstained)),
                    *(answer.reason, *(image.columns.get(name, "") for name in columns)),
                ]
            )
