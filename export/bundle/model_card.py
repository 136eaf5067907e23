"""What people read in a bundle: the model card and the report page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from export.bundle.facts import BundleFacts
from export.parity.gate import FAILED
from export.parity.measures import Parity
from export.parity.table import (
    COLUMNS,
    TRIED_COLUMNS,
    caption,
    html_table,
    reasons,
    table_rows,
    tried_caption,
    tried_rows,
    without_empty_columns,
)

_NOT_A_DEVICE = "For research. This is not a medical device, and no diagnosis may rest on it."
_FAILED = (
    "**The int8 files failed the gate and were written because of `--force`.** They do not decide as the trained "
    "network does; the table says how far they are from it."
)
_LEAKED = (
    "**The test images share radiographs with the training images.** The figures say how well the files agree with the "
    "network, not how well the network knows fractures."
)


def model_card(facts: BundleFacts) -> str:
    """MODEL_CARD.md.

    Args:
        facts: of the bundle.
    """
    spec, parity = facts.spec, facts.parity
    negative, positive = spec.labels
    return "\n".join(
        [
            f"# {spec.name}",
            "",
            f"Tells `{positive}` from `{negative}` in one grey image of {spec.size} x {spec.size} pixels "
            f"(aspect: {spec.aspect}, {spec.resampling}). Trained on: {spec.domain}s.",
            f"A probability from {spec.threshold:g} on means `{positive}`.",
            "",
            "## Figures",
            "",
            *([_LEAKED, ""] if facts.leaked else []),
            *([_FAILED, ""] if parity.verdict == FAILED else []),
            f"{caption(parity)}.",
            "",
            *_markdown_table(without_empty_columns([COLUMNS, *table_rows(parity)])),
            "",
            *_markdown_reasons(parity),
            *_markdown_tried(parity),
            "## How it was made",
            "",
            f"- Quantisation: {_quantisation(facts)}",
            f"- Folded away without changing an answer: {facts.folding.says}",
            f"- Trained network: SHA-256 `{facts.float_model_sha256}`",
            f"- Measured on: {', '.join(facts.proven_on)}",
            f"- Versions: {_versions(facts)}",
            "",
            "## Limits",
            "",
            _NOT_A_DEVICE,
            f"It knows the kind of image it was trained on ({spec.domain}s of its data set), and gives any other "
            "image a probability as well.",
            "",
        ]
    )


def report_html(facts: BundleFacts) -> str:
    """report.html: one page that needs no other file and shows no user's image.

    Args:
        facts: of the bundle.
    """
    name, parity = html.escape(facts.spec.name), facts.parity
    leaked = f"<p>{html.escape(_LEAKED.replace('**', ''))}</p>" if facts.leaked else ""
    tried = ""
    if parity.tried:
        tried = f"<p>{html.escape(tried_caption(parity))}.</p>\n{html_table(_tried(parity))}"
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
{html_table(without_empty_columns([COLUMNS, *table_rows(parity)]))}
{_html_reasons(parity)}
{tried}
<p>Folded away without changing an answer: {html.escape(facts.folding.says)}.</p>
<p>Quantisation: {html.escape(_quantisation(facts))} Versions: {html.escape(_versions(facts))}.</p>
</body></html>
"""


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body)]


def _markdown_reasons(parity: Parity) -> list[str]:
    lines = [f"- {reason}." for reason in reasons(parity)]
    return [*lines, ""] if lines else []


def _markdown_tried(parity: Parity) -> list[str]:
    if not parity.tried:
        return []
    return [f"{tried_caption(parity)}.", "", *_markdown_table(_tried(parity)), ""]


def _tried(parity: Parity) -> list[tuple[str, ...]]:
    return without_empty_columns([TRIED_COLUMNS, *tried_rows(parity)])


def _html_reasons(parity: Parity) -> str:
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons(parity))
    return f"<ul>{items}</ul>" if items else ""


def _quantisation(facts: BundleFacts) -> str:
    if facts.recipe is None:
        return "none, float files only."
    return f"recipe {facts.recipe}, {len(facts.calibration_sha256)} calibration images."


def _versions(facts: BundleFacts) -> str:
    return ", ".join(f"{package} {version}" for package, version in facts.versions.items())
