"""The parity table, as cells, as text for the terminal and as HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from export.parity.measures import FileParity, Parity, Trial
from export.parity.shift import BANDS
from train.pages import table_of

COLUMNS = (
    *("file", "engine", "MB", "AUC", "decisions changed", "99th percentile", "largest"),
    *("sensitivity", "specificity", "ms", "verdict"),
)
TERMINAL_COLUMNS = 100  # that a table on a terminal keeps to
_NARROW_COLUMNS = ("file", "engine", "AUC", "changed", "p99", "sens.", "spec.", "ms", "verdict")
_SMALL, _MIDDLE, _LARGE = BANDS
SHIFT_COLUMNS = (
    *("shift", "file", "decisions changed", f"within {_SMALL:g}", f"{_SMALL:g} to {_MIDDLE:g}"),
    *(f"{_MIDDLE:g} to {_LARGE:g}", f"beyond {_LARGE:g}", "99th percentile"),
)
_NARROW_TRIED_COLUMNS = ("recipe", "file", "AUC change", "changed", "p99", "seconds", "outcome", "")
TRIED_COLUMNS = ("recipe", "file", "AUC change", "decisions changed", "99th percentile", "seconds", "outcome", "")


def table_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the parity table below COLUMNS: the trained network, each file, and the limits of the gate."""
    one = parity.files[0]
    proportions = (_proportion(one.float_sensitivity), _proportion(one.float_specificity))
    trained = ("model.keras", "keras", "", _area(parity.float_radiograph_auc), "", "", "", *proportions, "", "")
    return [trained, *map(_row, parity.files), *_limits_row(parity)]


def tried_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the table of recipes below TRIED_COLUMNS; none where the recipe was given."""
    return [_tried_row(trial) for trial in parity.tried]


def parity_text(parity: Parity, wide: bool = False) -> str:
    """The verdict and the tables as plain text, columns aligned.

    Args:
        parity: as judged.
        wide: every column, however wide the lines become; without it they keep to TERMINAL_COLUMNS.
    """
    if wide:
        lines = [caption(parity), *aligned([COLUMNS, *table_rows(parity)]), *reasons(parity)]
        if shift_rows(parity):
            lines += ["", shift_caption(parity), *aligned([SHIFT_COLUMNS, *shift_rows(parity)])]
        if parity.tried:
            lines += ["", tried_caption(parity), *aligned([TRIED_COLUMNS, *tried_rows(parity)])]
        return "\n".join(lines)
    lines = [*_wrapped(caption(parity)), *aligned([_NARROW_COLUMNS, *map(_narrow, table_rows(parity))])]
    lines += [line for reason in reasons(parity) for line in _wrapped(reason)]
    if shift_rows(parity):
        rows = [(*row[:2], _short(row[2]), *row[3:]) for row in shift_rows(parity)]
        head = (*SHIFT_COLUMNS[:2], "changed", *SHIFT_COLUMNS[3:-1], "p99")
        lines += ["", *_wrapped(shift_caption(parity)), *aligned([head, *rows])]
    if parity.tried:
        rows = [_narrow_trial(trial) for trial in parity.tried]
        lines += ["", *_wrapped(tried_caption(parity)), *aligned([_NARROW_TRIED_COLUMNS, *rows])]
        refused = [trial for trial in parity.tried if not trial.file]
        lines += [line for trial in refused for line in _wrapped(f"{trial.recipe}: {trial.outcome}")]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, TERMINAL_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _narrow(row: tuple[str, ...]) -> tuple[str, ...]:
    """A row of the parity table without size and largest difference, shortened."""
    file, engine, _, area, changed, percentile_99, _, sensitivity, specificity, milliseconds, verdict = row
    figures = (area, _short(changed), percentile_99, sensitivity, specificity, milliseconds)
    return (file, engine.partition(" ")[0], *figures, verdict)


def _narrow_trial(trial: Trial) -> tuple[str, ...]:
    recipe, file, area, changed, percentile_99, seconds, outcome, chosen = _tried_row(trial)
    return (recipe, file, area, _short(changed), percentile_99, seconds, outcome if file else "refused", chosen)


def _short(changed: str) -> str:
    """`1/419` of `1 of 419 (0.2%)`, `2.00%` of `2.00%, none beyond 0.2`."""
    return changed.partition(" (")[0].partition(",")[0].replace(" of ", "/")


def caption(parity: Parity) -> str:
    """What the table compares, on what, how it is counted, and the verdict."""
    return (
        f"Against the trained network on {parity.images} images of {parity.radiographs} radiographs "
        f"({parity.measured_on}), threshold {parity.threshold:g}; AUC and decisions per radiograph, differences of "
        f"probability per image; verdict: {parity.verdict}"
    )


def tried_caption(parity: Parity) -> str:
    """What the table of recipes was measured on."""
    return f"Recipes tried, from the cheapest on, against the trained network on {parity.tried_on}"


def shift_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the table of shifts below SHIFT_COLUMNS: of each shift, each file; none where none was measured."""
    pairs = [(shift, one.file) for one in parity.files for shift in one.shifts]
    order = {shift.shift: place for place, (shift, _) in reversed(list(enumerate(pairs)))}
    return [
        (
            shift.shift,
            file,
            _share(shift.decisions_changed, shift.radiographs),
            *(f"{changed}/{count}" for count, changed in shift.by_distance),
            f"{shift.percentile_99_difference:.2g}",
        )
        for shift, file in sorted(pairs, key=lambda pair: order[pair[0].shift])
    ]


def shift_table(parity: Parity) -> dict[str, Any] | None:
    """The table of shifts, for a page; None where none was measured."""
    rows = shift_rows(parity)
    return table_of("Changed decisions under shift", [SHIFT_COLUMNS, *rows]) if rows else None


def shift_caption(parity: Parity) -> str:
    """What the table of shifts says, and its limit."""
    limit = "" if parity.limits is None else f"; limit of the worst: {parity.limits['shift']:.2%}"
    return (
        "Against the trained network on the same images shifted; changed decisions in all, and by the distance of the "
        f"network's probability from the threshold{limit}"
    )


def _row(one: FileParity) -> tuple[str, ...]:
    return (
        one.file,
        f"{one.engine} {one.engine_version}",
        f"{one.bytes / 1e6:.2f}",
        _area(one.radiograph_auc),
        _share(one.radiograph_decisions_changed, one.radiographs),
        f"{one.percentile_99_difference:.2g}",
        f"{one.largest_difference:.2g}",
        _proportion(one.sensitivity),
        _proportion(one.specificity),
        _time(one.milliseconds),
        one.verdict,
    )


def _limits_row(parity: Parity) -> list[tuple[str, ...]]:
    """The limits as a row of the table; none where nothing was judged."""
    if parity.limits is None:
        return []
    limit = parity.limits
    changed = f"{limit['changed']:.2%}, none beyond {limit['distance']:g}"
    proportions = (f"± {limit['sensitivity']:g}", f"± {limit['specificity']:g}")
    area, percentile_99 = f"± {limit['auc']:g}", f"{limit['percentile_99']:g}"
    return [("limit of int8", "", "", area, changed, percentile_99, "", *proportions, "", "")]


def _tried_row(trial: Trial) -> tuple[str, ...]:
    figures = ("", "", "")
    if trial.decisions_changed is not None and trial.radiographs is not None:
        auc_change = "unknown" if trial.auc_change is None else f"{trial.auc_change:+.4f}"
        changed = _share(trial.decisions_changed, trial.radiographs)
        figures = (auc_change, changed, f"{trial.percentile_99_difference:.2g}")
    chosen = "chosen" if trial.chosen else ""
    return (trial.recipe, trial.file, *figures, _time(trial.seconds), trial.outcome, chosen)


def without_empty_columns(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """A table without the columns in which nothing stands below the head."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def _time(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _area(auc: float | None) -> str:
    return "unknown" if auc is None else f"{auc:.4f}"


def _proportion(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total} ({count / total:.1%})"


def reasons(parity: Parity) -> list[str]:
    """A line for each reason behind a verdict."""
    return [f"{one.file} {one.verdict}: {reason}" for one in parity.files for reason in one.reasons]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
