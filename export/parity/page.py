"""What people read of a parity suite: text for the terminal, and a page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge_runtime.bundle import FLOAT32
from edge_runtime.terminal_text import escaped
from export.parity.gate import FAILED, PASSED, meaning_of
from export.parity.layer_snr import LayerNoise, steepest
from export.parity.suite import FileAnswers, Suite
from export.parity.table import (
    COLUMNS,
    aligned,
    parity_text,
    reasons,
    shift_caption,
    shift_rows,
    shift_table,
    table_rows,
)
from train.pages import made_today, render, shown_path, table_of
from train.pages.charts import plot_of
from train.pages.pictures import picture_of

COMMAND = "edge-parity"

STEEPEST = 5  # layers told on the terminal
_LAYER_COLUMNS = ("layer", "operator", "signal to noise, dB", "fall, dB", "tensor")
LONG = 12  # rows from which on a table is folded
PICTURES = 24  # images whose decision changed that are shown
_DPI = 110
_SIDE = 176  # pixels of a picture


def suite_text(suite: Suite, worst: int, wide: bool = False) -> str:
    """The whole suite as plain text, columns aligned; `wide` as for `parity_text`."""
    lines = [
        f"Reference: {suite.reference}",
        parity_text(suite.parity, wide),
        *suite.not_run,
        "",
        *_steady_lines(suite),
    ]
    rows = worst_rows(suite, worst) if wide else _narrow_worst_rows(suite, worst)
    if len(rows) > 1:
        lines += ["", "Images with the largest differences of an int8 file", *aligned(rows)]
    for file, noise in suite.layers.items():
        last = noise[-1]
        lines += ["", f"{file}: where rounding enters, the {STEEPEST} steepest of {len(noise)} layers"]
        lines += aligned([_LAYER_COLUMNS, *_layer_rows(noise, steepest(noise, STEEPEST))])
        lines.append(f"at the end, {last.operator}: {last.snr_db:.1f} dB")
    return "\n".join(lines)


def worst_rows(suite: Suite, count: int) -> list[tuple[str, ...]]:
    """A head, then a row for each of the worst images: reference and every answer."""
    head = ("image", "reference", *(f"{one.file}, {one.engine}" for one in suite.answers))
    body = [
        (
            escaped(suite.names[row]),
            f"{suite.reference_probabilities[row]:.4f}",
            *(f"{one.probabilities[row]:.4f}" for one in suite.answers),
        )
        for row in suite.worst(count)
    ]
    return [head, *body]


def _narrow_worst_rows(suite: Suite, count: int) -> list[tuple[str, ...]]:
    """As `worst_rows`, with the answer that lies furthest from the reference alone."""
    of_int8 = [one for one in suite.answers if one.precision != FLOAT32] or list(suite.answers)
    body = []
    for row in suite.worst(count):
        reference = float(suite.reference_probabilities[row])
        furthest = max(of_int8, key=lambda one: abs(float(one.probabilities[row]) - reference))
        answer = f"{furthest.probabilities[row]:.4f}"
        body.append((escaped(suite.names[row]), f"{reference:.4f}", answer, f"{furthest.file}, {furthest.engine}"))
    return [("image", "reference", "furthest", "of"), *body]


def write_page(folder: Path, suite: Suite, worst: int) -> Path:
    """Writes `report.html`, which needs no other file, and returns its path.

    Args:
        folder: that exists; the pictures are written there too.
        suite: what was found.
        worst: images listed.
    """
    scatter = _scatter(suite)
    _save(scatter, folder / "probabilities.png")
    noise = _noise(suite) if suite.layers else None
    if noise is not None:
        _save(noise, folder / "layers.png")
    target = folder / "report.html"
    target.write_bytes(render("export.parity", "parity.html", COMMAND, _contents(suite, worst, scatter, noise)))
    return target


def _contents(suite: Suite, worst: int, scatter: Figure, noise: Figure | None) -> dict[str, Any]:
    parity = replace(suite.parity, measured_on=shown_path(suite.parity.measured_on))
    changed = _changed(suite)
    sections = [
        ("files", "Files"),
        *([("shift", "Under shift")] if shift_rows(parity) else []),
        ("plots", "Plots"),
        *([("changed", "Changed decisions")] if changed else []),
        *([("worst", "Largest differences")] if worst else []),
        *([("layers", "Layers")] if suite.layers else []),
    ]
    return {
        "title": "Parity of a bundle",
        "mood": {PASSED: "good", FAILED: "bad"}.get(parity.verdict, ""),
        "facts": [
            f"{parity.images} images of {parity.radiographs} radiographs: {parity.measured_on}",
            f"threshold {parity.threshold:.3f}",
            *made_today(),
        ],
        "contents": sections,
        "verdict": parity.verdict,
        "means": meaning_of(parity.verdict),
        "reasons": reasons(parity),
        "reference": suite.reference,
        "remarks": [*suite.not_run, *_steady_lines(suite)],
        "files": table_of("Files beside the reference", [COLUMNS, *table_rows(parity)]),
        "shift": shift_table(parity),
        "shift_caption": shift_caption(parity),
        "plots": _plots(suite, scatter, noise),
        "changed": changed,
        "changed_count": len(suite.changed()),
        "worst": _worst_table(suite, worst),
        "layers": [_layers_table(file, noise) for file, noise in suite.layers.items()],
    }


def _plots(suite: Suite, scatter: Figure, noise: Figure | None) -> list[dict[str, Any]]:
    files = [one for one in suite.parity.files if one.precision != FLOAT32] or suite.parity.files
    furthest = max(files, key=lambda one: one.largest_difference)
    told = f"the largest difference is {furthest.largest_difference:.3f}, of {furthest.file} on {furthest.engine}"
    plots = [
        plot_of(
            scatter,
            "Probability of each file against the reference; dotted lines are the threshold, the thin one is equality",
            f"Each dot is an image; {told}.",
        )
    ]
    if noise is not None:
        last = "; ".join(f"{file} ends at {layers[-1].snr_db:.1f} dB" for file, layers in suite.layers.items())
        plots.append(plot_of(noise, "Signal to noise of each layer of the int8 files, higher is better", f"{last}."))
    return plots


def _changed(suite: Suite) -> list[dict[str, str]]:
    """The images that an int8 file decides otherwise than the reference, as pictures, furthest first."""
    threshold = suite.parity.threshold
    pictures = []
    for row in suite.changed()[:PICTURES]:
        reference, answer = float(suite.reference_probabilities[row]), suite.furthest(row)
        caption = f"{suite.names[row]}: reference {reference:.3f}, {answer:.3f}"
        says = f"Image decided {_decided(reference, threshold)} by the reference, otherwise by an int8 file"
        pictures.append(picture_of(np.ascontiguousarray(suite.images_u8[row]), _SIDE, caption, says))
    return pictures


def _decided(probability: float, threshold: float) -> str:
    return "fractured" if probability >= threshold else "not fractured"


def _worst_table(suite: Suite, worst: int) -> dict[str, Any] | None:
    rows = worst_rows(suite, worst)
    folded = f"{len(rows) - 1} images and the answers of all files" if len(rows) > LONG else ""
    return table_of("Images with the largest differences", rows, folded=folded) if worst else None


def _layers_table(file: str, noise: Sequence[LayerNoise]) -> dict[str, Any]:
    rows = [_LAYER_COLUMNS, *_layer_rows(noise, noise)]
    return table_of(f"Layers of {file}", rows, folded=f"{file}: {len(noise)} layers" if len(noise) > LONG else "")


def _steady_lines(suite: Suite) -> list[str]:
    tried = [one for one in suite.answers if one.steady is not None]
    unsteady = [f"{one.file} on {one.engine}" for one in tried if not one.steady]
    if unsteady:
        return [f"NOT the same bits with other threads, in another order or a second time: {', '.join(unsteady)}"]
    return [f"Threads, order and repetition change no bit ({len(tried)} pairs of file and engine tried)"]


def _layer_rows(noise: Sequence[LayerNoise], shown: Sequence[LayerNoise]) -> list[tuple[str, ...]]:
    place = {id(one): str(number) for number, one in enumerate(noise, 1)}
    return [
        (place[id(one)], one.operator, f"{one.snr_db:.1f}", f"{one.fall_db:.1f}", one.tensor.split(";")[0])
        for one in shown
    ]


def _noise(suite: Suite) -> Figure:
    figure = Figure((6.5, 4), layout="constrained")
    axes = figure.subplots()
    for (file, noise), line in zip(suite.layers.items(), ("-", "--"), strict=False):  # both often lie on one another
        axes.plot(range(1, len(noise) + 1), [one.snr_db for one in noise], line, marker=".", label=file)
    axes.set(xlabel="layer, in order of execution", ylabel="signal to noise, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _scatter(suite: Suite) -> Figure:
    figure = Figure((5.5, 5.5), layout="constrained")
    axes = figure.subplots()
    for one in _int8_first(suite.answers):
        axes.plot(suite.reference_probabilities, one.probabilities, ".", alpha=0.5, label=f"{one.file}, {one.engine}")
    threshold = suite.parity.threshold
    axes.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
    axes.axvline(threshold, color="0.6", linestyle=":")
    axes.axhline(threshold, color="0.6", linestyle=":")
    axes.set(xlabel="probability of the reference", ylabel="probability of the file", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=7)
    return figure


def _int8_first(answers: Sequence[FileAnswers]) -> list[FileAnswers]:
    int8 = [one for one in answers if one.precision != FLOAT32]
    return int8 or list(answers)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)
