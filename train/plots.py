"""The pictures of a run, drawn with matplotlib's object interface: no display and no global state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from train.metrics import Estimate

NEGATIVE_COLOUR, POSITIVE_COLOUR = "#3b6ea5", "#c8553d"
_CURVES = {"accuracy": ("accuracy", "val_accuracy"), "loss": ("loss", "val_loss"), "AUC": ("val_auc",)}
_DPI = 110
LEAKED_MARK = "LEAKED: radiographs are shared between splits"


def save_samples(path: Path, images_u8: NDArray[np.uint8], titles: list[str]) -> None:
    """A grid of (k, S, S) images, each with its title."""
    columns = min(6, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(1.7 * columns, 1.9 * rows), layout="constrained")
    for axes, image, title in zip(figure.subplots(rows, columns, squeeze=False).flat, images_u8, titles, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=7)
    for axes in figure.axes:
        axes.axis("off")
    _save(figure, path)


def save_counts(path: Path, counts: dict[str, tuple[int, int]], labels: tuple[str, str]) -> None:
    """Images of each class (negative, positive) in each split, as bars."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(counts))
    for offset, label, colour in ((-0.2, 0, NEGATIVE_COLOUR), (0.2, 1, POSITIVE_COLOUR)):
        bars = axes.bar(places + offset, [count[label] for count in counts.values()], 0.4, color=colour)
        axes.bar_label(bars, fontsize=8)
        bars.set_label(labels[label])
    axes.set_xticks(places, list(counts))
    axes.set_ylabel("images")
    axes.margins(y=0.15)
    axes.legend(fontsize=8)
    _save(figure, path)


def phase_starts(history: list[dict[str, float | str]]) -> list[int]:
    """The epochs, from 0, with which a phase but the first begins."""
    return [i for i in range(1, len(history)) if history[i]["phase"] != history[i - 1]["phase"]]


def draw_curves(history: list[dict[str, float | str]]) -> dict[str, Figure]:
    """Accuracy, loss and validation AUC per epoch, a figure each; a dotted line where a new phase begins."""
    figures = {}
    for name in _CURVES:
        figures[name] = Figure(figsize=(4.2, 3.2), layout="constrained")
        _draw_curve(figures[name].subplots(), name, history)
    return figures


def save_history(path: Path, history: list[dict[str, float | str]]) -> None:
    """The same side by side."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(_CURVES)), _CURVES, strict=True):
        _draw_curve(axes, name, history)
    _save(figure, path)


def _draw_curve(axes: Axes, title: str, history: list[dict[str, float | str]]) -> None:
    epochs = np.arange(1, len(history) + 1)
    for name in _CURVES[title]:
        is_validation = name.startswith("val_")
        colour = POSITIVE_COLOUR if is_validation else NEGATIVE_COLOUR
        axes.plot(epochs, [record[name] for record in history], marker=".", color=colour)
        axes.lines[-1].set_label("validation" if is_validation else "training (augmented)")
    for start in phase_starts(history):
        axes.axvline(start + 0.5, color="grey", linestyle=":", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("epoch")
    axes.legend(fontsize=7)


def save_confusion(
    path: Path, confusion: tuple[tuple[int, int], tuple[int, int]], labels: tuple[str, str], mark: str
) -> None:
    """Rows: true class; columns: decision."""
    figure = Figure(figsize=(3.8, 3.4), layout="constrained")
    axes = figure.subplots()
    table = np.array(confusion)
    axes.imshow(table, cmap="Blues")
    for row in range(2):
        for column in range(2):
            colour = "white" if table[row, column] > table.max() / 2 else "black"
            axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks([0, 1], labels)
    axes.set_yticks([0, 1], labels, rotation=90, va="center")
    axes.set_xlabel("decided")
    axes.set_ylabel("true")
    axes.set_title(mark, fontsize=8, color=POSITIVE_COLOUR)
    _save(figure, path)


def save_roc(
    path: Path, labels: NDArray[np.int64], probabilities: NDArray[np.floating], auc: Estimate, mark: str
) -> None:
    """The ROC curve, with the AUC and its interval."""
    false_rate, true_rate, _ = roc_curve(labels, probabilities)
    figure = Figure(figsize=(3.8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(false_rate, true_rate, color=POSITIVE_COLOUR)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.set_title(f"AUC {auc}\n{mark}".rstrip(), fontsize=8)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
