"""What people read in a bundle: the model card, the report page, and the parity table on the terminal."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from export.parity import FileParity, Parity

COLUMNS = ("file", "engine", "MB", "AUC", "decisions changed", "largest", "99th percentile", "ms")

_NOT_A_DEVICE = "For research. This is not a medical device, and no diagnosis may rest on it."
_LEAKED = (
    "**The test images share radiographs with the training images.** The figures say how well the files agree with the "
    "network, not how well the network knows fractures."
)


def table_rows(parity: Parity) -> list[tuple[str, ...]]:
    """The cells of the parity table below COLUMNS, the trained network first."""
    trained = ("model.keras", "keras", "", _area(parity.float_auc), "", "", "", "")
    return [trained, *(_row(one, parity.images) for one in parity.files)]


def parity_text(parity: Parity) -> str:
    """The parity table as plain text, columns aligned."""
    rows = [COLUMNS, *table_rows(parity)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([caption(parity), *lines])


def caption(parity: Parity) -> str:
    """One line: what the table compares, and on what."""
    return (
        f"Against the trained network on {parity.images} images ({parity.measured_on}), threshold {parity.threshold:g}"
        f"; differences are of probability; verdict: {parity.verdict}"
    )


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
            f"{caption(parity)}.",
            "",
            *_markdown_table(parity),
            "",
            "## How it was made",
            "",
            f"- Quantisation: {_quantisation(facts)}",
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
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table_rows(parity)
    )
    leaked = f"<p>{html.escape(_LEAKED.replace('**', ''))}</p>" if facts["leaked"] else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: parity</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }}
table {{ border-collapse: collapse; }} th, td {{ border-bottom: 1px solid #ccc; padding: .3em .8em; text-align: left; }}
</style></head><body>
<h1>{name}</h1>
<p>{html.escape(caption(parity))}.</p>
{leaked}
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<p>Quantisation: {html.escape(_quantisation(facts))} Versions: {html.escape(_versions(facts))}.</p>
</body></html>
"""


def _row(one: FileParity, images: int) -> tuple[str, ...]:
    return (
        one.file,
        f"{one.engine} {one.engine_version}",
        f"{one.bytes / 1e6:.2f}",
        _area(one.auc),
        f"{one.decisions_changed} of {images} ({one.decisions_changed / images:.1%})",
        f"{one.largest_difference:.2g}",
        f"{one.percentile_99_difference:.2g}",
        f"{one.milliseconds:.1f}",
    )


def _area(auc: float | None) -> str:
    return "unknown" if auc is None else f"{auc:.4f}"


def _markdown_table(parity: Parity) -> list[str]:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *table_rows(parity)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _quantisation(facts: Mapping[str, Any]) -> str:
    if facts["recipe"] is None:
        return "none, float files only."
    return f"recipe {facts['recipe']}, {len(facts['calibration'])} calibration images."


def _versions(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
