"""What a user asks of an evaluation, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines import AUTO
from edge_runtime.predictor import Predictor
from edge_runtime.spec import ModelSpec
from export.evaluation.changes import ROTATION
from export.evaluation.drift import DriftRow
from export.evaluation.figures import Figure, Radiographs, Subgroup, curves, interactions
from export.evaluation.judging import Answer
from export.evaluation.stress import StressRow
from export.evaluation.subjects import Subjects

FORMAT = "edge-evaluate 1"  # of metrics.json
PLOTS, PLOT_FORMATS = "plots", ("svg", "png", "pdf")  # folder of the plots as files, where these were asked for
PLOT_NAMES = ("roc", "reliability", "probabilities", "decision_curve", ROTATION)


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
    plots: tuple[str, ...] = ()  # formats in which plots are written as files too
    rotation: bool = False  # judge turned images too
    shortcuts: bool = False  # judge images changed otherwise too
    changed_images: int = 200  # that are changed, at most


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
    stress: list[StressRow] = field(default_factory=list)  # changed images
    drift: list[DriftRow] = field(default_factory=list)  # beside the images of the run

    @property
    def abstained(self) -> int:
        """Images that are no radiographs, for the gate; not those that a coverage leaves in doubt."""
        return sum(answer.abstained and not self._is_doubt(answer) for answer in self.answers)

    def _is_doubt(self, answer: Answer) -> bool:
        return answer.reason == self.spec.doubt(answer.probabilities[self.judged_by])

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
            "leaked": self.subjects.leaked,
            "probabilities": _distribution(np.array(given), self.spec.threshold),
            "changed_images": [row.to_dict() for row in self.stress],
            "drift": [row.to_dict() for row in self.drift],
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


def _distribution(probabilities: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    if not probabilities.size:
        return {}
    quantiles = np.quantile(probabilities, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {
        "quantiles": dict(zip(("0.05", "0.25", "0.5", "0.75", "0.95"), quantiles.tolist(), strict=True)),
        "share_positive": float((probabilities >= threshold).mean()),
    }
