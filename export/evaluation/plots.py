"""The plots of an evaluation that no other page has."""

from __future__ import annotations

from matplotlib.figure import Figure

from export.evaluation.figures import Radiographs, curves
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
