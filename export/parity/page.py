"""What people read of a parity suite: text for the terminal, and a page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from edge_runtime.bundle import FLOAT32
from edge_runtime.terminal_text import escaped
from export.parity.layer_snr import LayerNoise, steepest
from export.parity.suite import FileAnswers, Suite
from export.parity.table import COLUMNS, aligned, caption, html_table, parity_text, table_rows
from train.report import page, picture

STEEPEST = 5  # layers told on the terminal
_LAYER_COLUMNS = ("layer", "operator", "signal to noise, dB", "fall, dB", "tensor")
_DPI = 110


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
    parts = [
        f"<p>{escape(caption(suite.parity))}. Reference: {escape(suite.reference)}.</p>",
        html_table([COLUMNS, *table_rows(suite.parity)]),
        "".join(f"<p>{escape(line)}</p>" for line in (*suite.not_run, *_steady_lines(suite))),
    ]
    _save_scatter(folder / "probabilities.png", suite)
    parts.append(picture(folder / "probabilities.png", "Probability of each file against the reference"))
    if suite.layers:
        _save_noise(folder / "layers.png", suite)
        parts.append(picture(folder / "layers.png", "Signal to noise of each layer of the int8 files"))
    parts += ["<h2>Images with the largest differences</h2>", html_table(worst_rows(suite, worst))]
    for file, noise in suite.layers.items():
        parts += [f"<h2>Layers of {escape(file)}</h2>", html_table([_LAYER_COLUMNS, *_layer_rows(noise, noise)])]
    target = folder / "report.html"
    target.write_bytes(page("Parity", parts).encode("utf-8", "backslashreplace"))
    return target


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


def _save_noise(path: Path, suite: Suite) -> None:
    figure = Figure((9, 4), layout="constrained")
    axes = figure.subplots()
    for (file, noise), line in zip(suite.layers.items(), ("-", "--"), strict=False):  # both often lie on one another
        axes.plot(range(1, len(noise) + 1), [one.snr_db for one in noise], line, marker=".", label=file)
    axes.set(xlabel="layer, in order of execution", ylabel="signal to noise, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def _save_scatter(path: Path, suite: Suite) -> None:
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
    _save(figure, path)


def _int8_first(answers: Sequence[FileAnswers]) -> list[FileAnswers]:
    int8 = [one for one in answers if one.precision != FLOAT32]
    return int8 or list(answers)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)
