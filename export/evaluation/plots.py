"""The plots of an evaluation, on its page and, where these are asked for, as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from export.evaluation.changes import ROTATION
from export.evaluation.figures import Radiographs, curves
from export.evaluation.stress import StressRow
from train.metrics import Estimate
from train.pages.charts import (
    LINE,
    OTHER,
    QUIET,
    histogram,
    new_plot,
    plot_of,
    reliability_diagram,
    roc,
)

if TYPE_CHECKING:
    from export.evaluation.records import Evaluation


_DPI = 300


@dataclass(frozen=True)
class DrawnPlot:
    """One plot, and what is told of it."""

    name: str  # as a file, without its end
    figure: Figure
    caption: str  # below it
    says: str  # what it shows, for people who do not see it

    def on_page(self) -> dict[str, Any]:
        """For the macro of pages; the figure takes the colours of a page for good."""
        return plot_of(self.figure, self.caption, self.says)


def plots_of(found: Evaluation) -> list[DrawnPlot]:
    """All plots that an evaluation has."""
    turned = [row for row in found.stress if row.test == ROTATION]
    rotation = [_rotation(turned)] if turned else []
    if found.radiographs is None:
        return [_probabilities(found), *rotation]
    return [*_of_radiographs(found, found.radiographs), *rotation]


def write_plots(folder: Path, plots: Sequence[DrawnPlot], formats: Sequence[str]) -> None:
    """Writes each plot in each format, black on white; the same figures give the same bytes.

    Args:
        folder: to be made.
        plots: as drawn, before they are on a page.
        formats: some of `svg`, `png`, `pdf`.
    """
    folder.mkdir()
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    for plot in plots:
        for kind in formats:
            with rc_context({"svg.hashsalt": plot.name}):
                plot.figure.savefig(folder / f"{plot.name}.{kind}", dpi=_DPI, metadata=undated[kind])


def _probabilities(found: Evaluation) -> DrawnPlot:
    given = np.array([answer.probabilities[found.judged_by] for answer in found.answers if answer.probabilities])
    share = 0.0 if not given.size else float((given >= found.spec.threshold).mean())
    return DrawnPlot(
        "probabilities",
        histogram(given, None, found.spec.threshold),
        "Probabilities; the dotted line is the threshold",
        f"Histogram of {given.size} probabilities; {share:.0%} lie at or above the threshold.",
    )


def _of_radiographs(found: Evaluation, radiographs: Radiographs) -> list[DrawnPlot]:
    labels, probabilities, threshold = radiographs.labels, radiographs.probabilities, radiographs.threshold
    figures = {figure.name: figure.estimate for figure in found.figures}
    point = f"sensitivity {figures['sensitivity']}, specificity {figures['specificity']}"
    error = figures["expected calibration error"]
    return [
        DrawnPlot(
            "roc",
            roc(labels, probabilities, threshold),
            "ROC curve with its 95 % band; the dot is the operating point",
            f"ROC curve: area {figures['AUC']}; the operating point has {point}.",
        ),
        DrawnPlot(
            "reliability",
            reliability_diagram(labels, probabilities),
            "Reliability: dots on the line mean what they say; larger dots are more radiographs",
            f"Reliability diagram: the expected calibration error is {error}.",
        ),
        DrawnPlot(
            "probabilities",
            histogram(probabilities, labels, threshold),
            "Probabilities; the dotted line is the threshold",
            f"Histogram of the probabilities of {labels.size} radiographs by their label.",
        ),
        DrawnPlot(
            "decision_curve",
            decision_curve(radiographs),
            "Decision curve: where the network's line is above both others, following it does most good",
            "Net benefit over thresholds, beside calling all radiographs fractured, and none.",
        ),
    ]


def _rotation(rows: Sequence[StressRow]) -> DrawnPlot:
    worst = max(rows, key=lambda row: row.decisions_changed.value or 0.0)
    return DrawnPlot(
        ROTATION,
        rotation_curve(rows),
        "Turned radiographs: AUC where there are labels, and the share of decisions that stay as they were, with "
        "95 % intervals",
        f"Of {worst.images} images turned by {worst.setting}, {worst.decisions_changed} are decided otherwise, the "
        "most.",
    )


def decision_curve(radiographs: Radiographs) -> Figure:
    """Net benefit over thresholds, beside calling all fractured and none."""
    figure, axes = new_plot("threshold", "net benefit")
    found = curves(radiographs)["decision_curve"]
    axes.plot(found["thresholds"], found["net_benefit"], color=LINE, label="this network")
    axes.plot(found["thresholds"], found["treat_all"], color=OTHER, linestyle="--", label="all fractured")
    axes.axhline(0, color=QUIET, linestyle=":", label="none fractured")
    highest = max(found["net_benefit"])
    axes.set_ylim(-0.1 * max(highest, 0.05), 1.2 * max(highest, 0.05))
    axes.legend()
    return figure


def rotation_curve(rows: Sequence[StressRow]) -> Figure:
    """AUC and the share of decisions that stay, by the angle by which images are turned."""
    figure, axes = new_plot("turned by, degrees", "share, and AUC")
    angles = np.array([float(row.setting.removesuffix("°")) for row in rows])
    order = np.argsort(angles)
    stays = np.array([_interval(row.decisions_changed) for row in rows])[order]
    areas = np.array([_interval(row.auc) for row in rows])[order]
    _line(figure, angles[order], 1.0 - stays[:, [0, 2, 1]], LINE, "decisions that stay")
    if np.isfinite(areas).all():
        _line(figure, angles[order], areas, OTHER, "AUC")
    axes.set_xlim(angles.min() - 5, angles.max() + 5)
    axes.legend()
    return figure


def _interval(estimate: Estimate) -> tuple[float, float, float]:
    known = (estimate.value, estimate.low, estimate.high)
    return tuple(np.nan if value is None else value for value in known)  # type: ignore[return-value]


def _line(figure: Figure, across: NDArray[np.float64], values: NDArray[np.float64], colour: str, label: str) -> None:
    """A line through (n, 3) values, each with its lower and upper end."""
    axes = figure.axes[0]
    axes.plot(across, values[:, 0], "-o", color=colour, label=label, markersize=4)
    axes.fill_between(across, values[:, 1], values[:, 2], color=colour, alpha=0.2, linewidth=0)
