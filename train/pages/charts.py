"""Plots of a page as SVG texts, in colours that are read in light and in dark, drawn without a display."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from train.figures.calibration import reliability

LINE, OTHER, QUIET = "#3f7fbf", "#d1701f", "#8a8a8a"  # blue and orange are told apart by everybody
_INK = "#010203"  # of nothing else, so that it can be found again and take the colour of the page
_BAND_DRAWS = 300
_GRID = np.linspace(0, 1, 101)


def new_plot(across: str, upwards: str, size: tuple[float, float] = (4.2, 3.4)) -> tuple[Figure, Axes]:
    """An empty plot whose axes reach from 0 to 1.

    Args:
        across: what the horizontal axis shows.
        upwards: what the vertical axis shows.
        size: inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(upwards)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    return figure, axes


def plot_of(figure: Figure, caption: str, says: str) -> dict[str, Any]:
    """A plot, for the macro of that name; text and frames take the colour of the page.

    Args:
        figure: as drawn.
        caption: below it.
        says: what it shows, for people who do not see it.
    """
    _take_colour_of_page(figure)
    stream = io.StringIO()
    # Without a date the same figures give the same bytes.
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    svg = _with_own_names(svg, caption).replace(_INK, "currentColor")
    return {"svg": Markup(svg), "caption": caption, "says": says}  # noqa: S704, drawn here from numbers


def _take_colour_of_page(figure: Figure) -> None:
    figure.patch.set_alpha(0.0)
    for axes in figure.axes:
        axes.patch.set_alpha(0.0)
        axes.tick_params(colors=_INK)
        for side in axes.spines.values():
            side.set_color(_INK)
        if (legend := axes.get_legend()) is not None:
            legend.get_frame().set_alpha(0.0)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names of folders and files are no formulas
        if to_hex(text.get_color()) == "#000000":  # one that nobody gave a colour
            text.set_color(_INK)


def _with_own_names(svg: str, caption: str) -> str:
    """The names that the drawing refers to, numbered under its own; all others go: a page holds several drawings."""
    prefix = re.sub(r"\W+", "-", caption.lower())[:24]
    numbers = count()
    name_of = {name: f"{prefix}{next(numbers)}" for name in dict.fromkeys(re.findall(r'[("]#([^)"]+)[)"]', svg))}
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{name_of[found[1]]}"' if found[1] in name_of else "", svg)
    return re.sub(r'([("])#([^)"]+)([)"])', lambda found: f"{found[1]}#{name_of[found[2]]}{found[3]}", svg)


def roc(labels: NDArray[np.integer], probabilities: NDArray[np.floating], threshold: float) -> Figure:
    """The ROC curve with its 95 % band by bootstrap, and the operating point; (n,) labels of both classes."""
    figure, axes = new_plot("1 - specificity", "sensitivity")
    low, high = _band(labels, probabilities)
    axes.fill_between(_GRID, low, high, color=LINE, alpha=0.2, linewidth=0)
    false, true, _ = roc_curve(labels, probabilities)
    axes.plot(false, true, color=LINE)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":")
    decided, fractured = probabilities >= threshold, labels == 1
    axes.plot(decided[~fractured].mean(), decided[fractured].mean(), "o", color=OTHER)
    return figure


def reliability_diagram(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Figure:
    """How many were fractured at each probability."""
    figure, axes = new_plot("mean probability", "fraction fractured")
    bins = reliability(labels, probabilities)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":")
    means, fractions = [one.mean_probability for one in bins], [one.fraction_positive for one in bins]
    axes.plot(means, fractions, "-", color=LINE)
    axes.scatter(means, fractions, s=[20 + 180 * one.count / labels.size for one in bins], color=LINE)
    return figure


def histogram(probabilities: NDArray[np.floating], labels: NDArray[np.integer] | None, threshold: float) -> Figure:
    """Probabilities, by label where there are labels, and the threshold as a dotted line."""
    figure, axes = new_plot("probability of a fracture", "images" if labels is None else "radiographs")
    axes.set_autoscaley_on(True)
    edges = np.linspace(0, 1, 26).tolist()
    if labels is None:
        axes.hist(probabilities, edges, color=LINE)
    else:
        parts = [probabilities[labels == 0], probabilities[labels == 1]]
        axes.hist(parts, edges, stacked=True, color=[LINE, OTHER], label=["not fractured", "fractured"])
        axes.legend()
    axes.axvline(threshold, color=QUIET, linestyle=":")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def bars(names: Sequence[str], series: Mapping[str, Sequence[float]], upwards: str, height: float = 2.8) -> Figure:
    """Grouped bars with their values above, one colour a series.

    Args:
        names: below the bars.
        series: values by what they are; two at most.
        upwards: what the vertical axis shows.
        height: inches.
    """
    figure = Figure(figsize=(min(6.0, max(4.2, 1.0 + 0.9 * len(names))), height), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(names))]
        drawn = axes.bar(places, values, width, label=label, color=(LINE, OTHER)[number % 2])
        axes.bar_label(drawn, fmt="{:.0f}", fontsize=8)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylabel(upwards)
    axes.margins(y=0.15)
    if len(series) > 1:
        axes.legend(fontsize=8)
    return figure


def bars_to_a_line(values: Mapping[str, float], across: str, line: float, start: float) -> Figure:
    """Lying bars, and a line that they should not cross; those that do have another colour.

    Args:
        values: by name, from above to below.
        across: what the horizontal axis shows, up to 1.
        line: where it stands.
        start: value at which bars begin.
    """
    figure = Figure(figsize=(5.6, 0.9 + 0.34 * len(values)), layout="constrained")
    axes = figure.subplots()
    colours = [OTHER if value > line else LINE for value in values.values()]
    drawn = axes.barh(list(values), [value - start for value in values.values()], left=start, color=colours)
    axes.bar_label(drawn, [f"{value:.2f}" for value in values.values()], padding=3, fontsize=8)
    axes.axvline(line, color=QUIET, linestyle="--")
    axes.invert_yaxis()
    axes.set_xlim(min(start, *values.values()) - 0.02, 1.06)
    axes.set_xlabel(across)
    return figure


def _band(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2.5 and 97.5 % of the sensitivity at each false positive rate of the grid."""
    rng = np.random.default_rng(0)
    order = np.argsort(-probabilities, kind="stable")
    positive = labels[order] == 1
    n, draws = order.size, []
    for _ in range(_BAND_DRAWS):
        times = rng.multinomial(n, np.full(n, 1 / n))[order]
        true, false = np.cumsum(times * positive), np.cumsum(times * ~positive)
        if true[-1] and false[-1]:
            draws.append(np.interp(_GRID, np.r_[0, false / false[-1]], np.r_[0, true / true[-1]]))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return low, high
