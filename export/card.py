"""What people read in a bundle: the model card, the report page, and the parity table on the terminal."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from export.gate import FAILED
from export.parity import FileParity, Parity, Trial

COLUMNS = (
    *("file", "engine", "MB", "AUC", "decisions changed", "99th percentile", "largest"),
    *("sensitivity", "specificity", "ms", "verdict"),
)
TRIED_COLUMNS = ("recipe", "file", "AUC change", "decisions changed", "99th percentile", "seconds", "outcome", "")

_NOT_A_DEVICE = "For research. This is not a medical device, and no diagnosis may rest on it."
_FAILED = (
    "**The int8 files failed the gate and were written because of `--force`.** They do not decide as the trained "
    "network does; the table says how far they are from it."
)
_LEAKED = (
    "**The test images share radiographs with the training images.** The figures say how well the files agree with the "
    "network, not how well the network knows fractures."
)


def table_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the parity table below COLUMNS: the trained network, each file, and the limits of the gate."""
    one = parity.files[0]
    proportions = (_proportion(one.float_sensitivity), _proportion(one.float_specificity))
    trained = ("model.keras", "keras", "", _area(parity.float_radiograph_auc), "", "", "", *proportions, "", "")
    return [trained, *map(_row, parity.files), *_limits_row(parity)]


def tried_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the table of recipes below TRIED_COLUMNS; none where the recipe was given."""
    return [_tried_row(trial) for trial in parity.tried]


def parity_text(parity: Parity) -> str:
    """The verdict and the tables as plain text, columns aligned."""
    lines = [caption(parity), *aligned([COLUMNS, *table_rows(parity)]), *_reasons(parity)]
    if parity.tried:
        lines += ["", tried_caption(parity), *aligned([TRIED_COLUMNS, *tried_rows(parity)])]
    return "\n".join(lines)


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


def model_card(facts: Mapping[str, Any], parity: Parity) -> str:
    """MODEL_CARD.md.

    Args:
        facts: as in the manifest.
        parity: measured on the files of the bundle.
    """
    spec = facts["spec"]
    negative, positive = spec["labels"]
    return "\n".join(
        [
            f"# {spec['name']}",
            "",
            f"Tells `{positive}` from `{negative}` in one grey image of {spec['size']} x {spec['size']} pixels "
            f"(aspect: {spec['aspect']}, {spec['resampling']}). Trained on: {spec['domain']}s.",
            f"A probability from {spec['threshold']:g} on means `{positive}`.",
            "",
            "## Figures",
            "",
            *([_LEAKED, ""] if facts["leaked"] else []),
            *([_FAILED, ""] if parity.verdict == FAILED else []),
            f"{caption(parity)}.",
            "",
            *_markdown_table([COLUMNS, *table_rows(parity)]),
            "",
            *_markdown_reasons(parity),
            *_markdown_tried(parity),
            "## How it was made",
            "",
            f"- Quantisation: {_quantisation(facts)}",
            f"- Folded away without changing an answer: {facts['folding']['says']}",
            f"- Trained network: SHA-256 `{facts['float_model_sha256']}`",
            f"- Measured on: {', '.join(facts['proven_on'])}",
            f"- Versions: {_versions(facts)}",
            "",
            "## Limits",
            "",
            _NOT_A_DEVICE,
            f"It knows the kind of image it was trained on ({spec['domain']}s of its data set), and gives any other "
            "image a probability as well.",
            "",
        ]
    )


def report_html(facts: Mapping[str, Any], parity: Parity) -> str:
    """report.html: one page that needs no other file and shows no user's image.

    Args:
        facts: as in the manifest.
        parity: measured on the files of the bundle.
    """
    name = html.escape(str(facts["spec"]["name"]))
    leaked = f"<p>{html.escape(_LEAKED.replace('**', ''))}</p>" if facts["leaked"] else ""
    tried = ""
    if parity.tried:
        tried = f"<p>{html.escape(tried_caption(parity))}.</p>\n{html_table([TRIED_COLUMNS, *tried_rows(parity)])}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: parity</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1em; }}
table {{ border-collapse: collapse; font-size: 14px; }}
th, td {{ border-bottom: 1px solid #ccc; padding: .3em .6em; text-align: left; }}
.verdict {{ font-weight: 600; }}
</style></head><body>
<h1>{name}</h1>
<p class="verdict">int8 files: {html.escape(parity.verdict)}</p>
<p>{html.escape(caption(parity))}.</p>
{leaked}
{html_table([COLUMNS, *table_rows(parity)])}
{_html_reasons(parity)}
{tried}
<p>Folded away without changing an answer: {html.escape(facts["folding"]["says"])}.</p>
<p>Quantisation: {html.escape(_quantisation(facts))} Versions: {html.escape(_versions(facts))}.</p>
</body></html>
"""


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
        f"{one.milliseconds:.1f}",
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
    return (trial.recipe, trial.file, *figures, f"{trial.seconds:.1f}", trial.outcome, chosen)


def _area(auc: float | None) -> str:
    return "unknown" if auc is None else f"{auc:.4f}"


def _proportion(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total} ({count / total:.1%})"


def _reasons(parity: Parity) -> list[str]:
    """A line for each reason behind a verdict."""
    return [f"{one.file} {one.verdict}: {reason}" for one in parity.files for reason in one.reasons]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body)]


def _markdown_reasons(parity: Parity) -> list[str]:
    lines = [f"- {reason}." for reason in _reasons(parity)]
    return [*lines, ""] if lines else []


def _markdown_tried(parity: Parity) -> list[str]:
    if not parity.tried:
        return []
    return [f"{tried_caption(parity)}.", "", *_markdown_table([TRIED_COLUMNS, *tried_rows(parity)]), ""]


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = rows
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><thead><tr>{top}</tr></thead><tbody>\n{lines}\n</tbody></table>"


def _html_reasons(parity: Parity) -> str:
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in _reasons(parity))
    return f"<ul>{items}</ul>" if items else ""


def _quantisation(facts: Mapping[str, Any]) -> str:
    if facts["recipe"] is None:
        return "none, float files only."
    return f"recipe {facts['recipe']}, {len(facts['calibration'])} calibration images."


def _versions(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
