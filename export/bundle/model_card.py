"""What people read in a bundle: the model card."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.bundle import INT8
from export.bundle.card_head import card_head
from export.bundle.facts import BundleFacts
from export.parity.gate import FAILED
from export.parity.measures import Parity
from export.parity.table import (
    COLUMNS,
    SHIFT_COLUMNS,
    TRIED_COLUMNS,
    caption,
    reasons,
    shift_caption,
    shift_rows,
    table_rows,
    tried_caption,
    tried_rows,
    without_empty_columns,
)
from train.pages import shown_path

_NOT_A_DEVICE = "For research. This is not a medical device, and no diagnosis may rest on it."
_FAILED = (
    "**The int8 files failed the gate and were written because of `--force`.** They do not decide as the trained "
    "network does; the table says how far they are from it."
)
LEAKED = (
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
            *card_head(spec, {**parity.to_dict(), "measured_on": shown_path(parity.measured_on)}, facts.leaked),
            "",
            f"# {spec.name}",
            "",
            f"Tells `{positive}` from `{negative}` in one grey image of {spec.size} x {spec.size} pixels "
            f"(aspect: {spec.aspect}, {spec.resampling}). Trained on: {spec.domain}s.",
            f"A probability from {spec.threshold:g} on means `{positive}`.",
            *_coverage(facts),
            "",
            "## Intended use",
            "",
            "Research, teaching, and trials of what runs on a small computer, by people who can judge a radiograph "
            "themselves. Data and licences: to be told by whoever trained it.",
            "",
            "```",
            "edge-infer --model FOLDER image.png   # FOLDER: where this file lies",
            "edge-infer --model FOLDER --self-test",
            "```",
            "",
            "## Figures",
            "",
            *([LEAKED, ""] if facts.leaked else []),
            *([_FAILED, ""] if parity.verdict == FAILED else []),
            f"{caption(parity)}.",
            "",
            *_markdown_table(without_empty_columns([COLUMNS, *table_rows(parity)])),
            "",
            *_markdown_intervals(parity),
            *_markdown_reasons(parity),
            *_markdown_shifts(parity),
            *_markdown_tried(parity),
            "## How it was made",
            "",
            f"- Quantisation: {quantisation(facts)}",
            f"- Folded away without changing an answer: {facts.folding.says}",
            f"- Trained network: SHA-256 `{facts.float_model_sha256}`",
            f"- Measured on: {', '.join(facts.proven_on)}",
            f"- Versions: {versions(facts)}",
            "",
            "## Limits",
            "",
            _NOT_A_DEVICE,
            f"It knows the kind of image it was trained on ({spec.domain}s of its data set), and gives any other "
            "image a probability as well.",
            "",
        ]
    )


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *body)]


def _coverage(facts: BundleFacts) -> list[str]:
    """A sentence of a network that abstains."""
    if not facts.coverage:
        return []
    level, counts = next((one.level, one.radiographs) for one in facts.coverage.values())
    return [
        f"It abstains where that cannot be told: of each class at least {level:g} are never ruled out, for radiographs "
        f"like those that were set aside for it ({counts[0]} and {counts[1]}; split-conformal, by class)."
    ]


def _markdown_intervals(parity: Parity) -> list[str]:
    """What int8 changes, with 95 % intervals, paired; nothing where labels are unknown."""
    names = {"AUC": "auc_change_interval", "sensitivity": "sensitivity_change_interval"}
    names["specificity"] = "specificity_change_interval"
    lines = []
    for one in parity.files:
        told = [
            f"{name} {interval[0]:+.4f} to {interval[1]:+.4f}"
            for name, field in names.items()
            if (interval := getattr(one, field)) is not None and one.precision == INT8
        ]
        if told:
            lines.append(f"- {one.file}, change per radiograph, 95 % intervals: {', '.join(told)}.")
    return [*lines, ""] if lines else []


def _markdown_reasons(parity: Parity) -> list[str]:
    lines = [f"- {reason}." for reason in reasons(parity)]
    return [*lines, ""] if lines else []


def _markdown_shifts(parity: Parity) -> list[str]:
    if not shift_rows(parity):
        return []
    return [f"{shift_caption(parity)}.", "", *_markdown_table([SHIFT_COLUMNS, *shift_rows(parity)]), ""]


def _markdown_tried(parity: Parity) -> list[str]:
    if not parity.tried:
        return []
    return [f"{tried_caption(parity)}.", "", *_markdown_table(tried_table(parity)), ""]


def tried_table(parity: Parity) -> list[tuple[str, ...]]:
    """The recipes that were tried, a head and a row for each file."""
    return without_empty_columns([TRIED_COLUMNS, *tried_rows(parity)])


def quantisation(facts: BundleFacts) -> str:
    """How the int8 files were made, a sentence."""
    if facts.recipe is None:
        return "none, float files only."
    return f"recipe {facts.recipe}, {len(facts.calibration_sha256)} calibration images."


def versions(facts: BundleFacts) -> str:
    """Of the packages that made the files."""
    return ", ".join(f"{package} {version}" for package, version in facts.versions.items())
