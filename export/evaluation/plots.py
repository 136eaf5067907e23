"""The plots of an evaluation as SVG texts, in colours that are read in light and in dark."""

from __future__ import annotations

import io
import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from export.evaluation.figures import Radiographs, curves

_LINE, _OTHER, _QUIET = "#3f7fbf", "#d1701f", "#8a8a8a"  # blue and orange are told apart by everybody
_BAND_DRAWS = 300
_GRID = np.linspace(0, 1, 101)


def roc(radiographs: Radiographs) -> str:
    """The ROC curve with its band by bootstrap, and the operating point."""
    figure, axes = _plot("1 - specificity", "sensitivity")
    low, high = _band(radiographs)
    axes.fill_between(_GRID, low, high, color=_LINE, alpha=0.2, linewidth=0)
    false, true, _ = roc_curve(radiographs.labels, radiographs.probabilities)
    axes.plot(false, true, color=_LINE)
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=":")
    decided, fractured = radiographs.decided, radiographs.labels == 1
    axes.plot(decided[~fractured].mean(), decided[fractured].mean(), "o", color=_OTHER)
    return _svg(figure, axes)


def reliability_diagram(radiographs: Radiographs) -> str:
    """How many were fractured at each probability."""
    figure, axes = _plot("mean probability", "fraction fractured")
    bins = curves(radiographs)["reliability"]
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=":")
    sizes = [20 + 180 * one["count"] / radiographs.labels.size for one in bins]
    means, fractions = ([one[name] for one in bins] for name in ("mean_probability", "fraction_positive"))
    axes.plot(means, fractions, "-", color=_LINE)
    axes.scatter(means, fractions, s=sizes, color=_LINE)
    return _svg(figure, axes)


def histogram(probabilities: NDArray[np.float64], labels: NDArray[np.int64] | None, threshold: float) -> str:
    """Probabilities, by label where there are labels, and the threshold."""
    figure, axes = _plot("probability of a fracture", "images" if labels is None else "radiographs")
    axes.set_autoscaley_on(True)
    edges = np.linspace(0, 1, 26).tolist()
    if labels is None:
        axes.hist(probabilities, edges, color=_LINE)
    else:
        parts = [probabilities[labels == 0], probabilities[labels == 1]]
        axes.hist(parts, edges, stacked=True, color=[_LINE, _OTHER], label=["not fractured", "fractured"])
    axes.axvline(threshold, color=_QUIET, linestyle=":")
    return _svg(figure, axes, legend=labels is not None)


def decision_curve(radiographs: Radiographs) -> str:
    """Net benefit over thresholds, beside calling all fractured and none."""
    figure, axes = _plot("threshold", "net benefit")
    found = curves(radiographs)["decision_curve"]
    axes.plot(found["thresholds"], found["net_benefit"], color=_LINE, label="this network")
    axes.plot(found["thresholds"], found["treat_all"], color=_OTHER, linestyle="--", label="all fractured")
    axes.axhline(0, color=_QUIET, linestyle=":", label="none fractured")
    highest = max(found["net_benefit"])
    axes.set_ylim(-0.1 * max(highest, 0.05), 1.2 * max(highest, 0.05))
    return _svg(figure, axes, legend=True)


def _band(radiographs: Radiographs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2.5 and 97.5 % of the sensitivity at each false positive rate of the grid."""
    rng = np.random.default_rng(0)
    order = np.argsort(-radiographs.probabilities, kind="stable")
    positive = radiographs.labels[order] == 1
    n, draws = order.size, []
    for _ in range(_BAND_DRAWS):
        times = rng.multinomial(n, np.full(n, 1 / n))[order]
        true, false = np.cumsum(times * positive), np.cumsum(times * ~positive)
        if true[-1] and false[-1]:
            draws.append(np.interp(_GRID, np.r_[0, false / false[-1]], np.r_[0, true / true[-1]]))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return low, high


def _plot(across: str, upwards: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(upwards)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    return figure, axes


def _svg(figure: Figure, axes: Axes, legend: bool = False) -> str:
    """SVG whose text and frame take the colour of the page."""
    ink = "#010203"  # of nothing else, so that it can be found again
    for side in axes.spines.values():
        side.set_color(ink)
    axes.tick_params(colors=ink)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(ink)
    if legend:
        axes.legend(labelcolor=ink, framealpha=0.0)
    for item in (axes.patch, figure.patch):
        item.set_alpha(0.0)
    stream = io.StringIO()
    # Without a date and with a fixed salt the same figures give the same bytes.
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    svg = text[text.index("<svg") :].replace(ink, "currentColor")
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
