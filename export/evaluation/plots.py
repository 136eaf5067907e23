"""The plots of an evaluation that no other page has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from export.evaluation.figures import Radiographs, curves
from export.evaluation.stress import StressRow
from train.metrics import Estimate
from train.pages.charts import LINE, OTHER, QUIET, new_plot


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
