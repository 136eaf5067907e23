"""report.html of an evaluation: one file that needs no other, no script and no network."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edge_runtime import __version__
from edge_runtime.errors import EdgeError
from edge_runtime.images import read_grey
from export.evaluation.changes import ROTATION
from export.evaluation.checklist import claim_items
from export.evaluation.figures import interactions
from export.evaluation.papers import parity_of
from export.evaluation.plots import DrawnPlot, plots_of, write_plots
from export.evaluation.records import PLOTS
from train.audit.wording import counted
from train.metrics import Estimate
from train.pages import made_today, render, table_of
from train.pages.pictures import picture_of

if TYPE_CHECKING:
    from export.evaluation.drift import DriftRow
    from export.evaluation.records import Evaluation, EvaluationRequest
    from export.evaluation.stress import StressRow

COMMAND = "edge-evaluate"
LEAKED = "LEAKED: radiographs of these images trained the network; every figure is too optimistic"

_MISTAKES = 6  # of each kind that are shown
_SIDE = 256  # pixels of a picture


def as_text(found: Evaluation) -> str:
    """The figures for a terminal."""
    lines = [f"{len(found.answers)} images of {found.subjects.origin}; {found.judged_by} of {found.spec.name}"]
    if found.radiographs is not None:
        labels = found.radiographs.labels
        lines.append(f"{labels.size} radiographs, {int(labels.sum())} fractured; threshold {found.spec.threshold:.3f}")
    if found.subjects.leaked:
        lines.append(LEAKED)
    width = max((len(figure.name) for figure in found.figures), default=0)
    lines += [f"{figure.name:<{width}}  {figure.estimate}" for figure in found.figures]
    for name, other in found.comparisons.items():
        lines.append(f"beside {name}: {other['decisions_that_differ']} decisions differ, {_not_inferior(other)}")
    lines += [f"changed images, {row.test} {row.setting}: {row.remark}" for row in found.stress if row.remark]
    parted = [row.quantity for row in found.drift if row.parted]
    if found.drift:
        found_none = "none found" if any(row.index is not None for row in found.drift) else "too few images to tell"
        lines.append(f"drift from the run: {', '.join(parted) or found_none}")
    if found.abstained:
        lines.append(f"{counted(found.abstained, 'image is no radiograph', 'images are no radiographs')} for the gate")
    if left_out := len(found.failed) + len(found.subjects.left_out):
        lines.append(f"{counted(left_out, 'image')} without an answer")
    if found.subjects.patients_unknown:
        lines.append(found.subjects.patients_unknown)
    return "\n".join(lines)


def write_page(path: Path, found: Evaluation, request: EvaluationRequest) -> None:
    """Writes the page, and the plots as files where these were asked for.

    Args:
        path: of the file.
        found: the evaluation.
        request: that led to it.
    """
    plots = plots_of(found)
    if request.plots:
        write_plots(path.with_name(PLOTS), plots, request.plots)
    path.write_bytes(render("export.evaluation", "evaluation.html", COMMAND, _contents(found, request, plots)))


def _contents(found: Evaluation, request: EvaluationRequest, plots: Sequence[DrawnPlot]) -> dict[str, Any]:
    figures = {figure.name: figure.estimate for figure in found.figures}
    galleries = _galleries(found) if found.radiographs is not None else []
    sections = [
        *([("figures", "Figures")] if figures else []),
        ("plots", "Plots"),
        *([("subgroups", "Subgroups")] if found.subgroups else []),
        *([("beside", "Beside other files")] if found.comparisons else []),
        *([("changed", "Changed images")] if found.stress else []),
        *([("drift", "Drift")] if found.drift else []),
        *((gallery["id"], gallery["name"]) for gallery in galleries),
        ("claim", "CLAIM checklist"),
    ]
    notes = [*found.subjects.left_out, *((answer.path, answer.reason) for answer in found.failed)]
    if notes:
        sections.insert(-1, ("left", "Without an answer"))
    return {
        "title": f"{found.spec.name}: evaluation",
        "mood": "bad" if found.subjects.leaked else "",
        "facts": [
            f"{found.spec.name}, {found.judged_by} (SHA-256 {found.model_sha256[:12]}…)",
            f"{found.subjects.origin}: {found.subjects.root.resolve().name}, {counted(len(found.answers), 'image')}",
            *made_today(),
        ],
        "contents": sections,
        "auc": figures.get("AUC"),
        "sensitivity": figures.get("sensitivity"),
        "specificity": figures.get("specificity"),
        "n": 0 if found.radiographs is None else found.radiographs.labels.size,
        "positives": 0 if found.radiographs is None else int(found.radiographs.labels.sum()),
        "threshold": found.spec.threshold,
        "leaked": found.subjects.leaked,
        "patients": _sentence(found.subjects.patients_unknown),
        "figures": _figures(found) if found.figures else None,
        "plots": [drawn.on_page() for drawn in plots if drawn.name != ROTATION],
        "subgroups": [row.to_dict() | _estimates(row) for row in found.subgroups],
        "looks": _looks(found),
        "comparisons": _comparisons(found) if found.comparisons else None,
        "stress": _stress(found.stress),
        "has_protocol": parity_of(request.source) is not None,
        "rotation": next((drawn.on_page() for drawn in plots if drawn.name == ROTATION), None),
        "given_away": [f"{row.test}, {row.setting}: {row.remark}" for row in found.stress if row.remark],
        "drift": _drift(found.drift) if found.drift else None,
        "parted": [row.quantity for row in found.drift if row.parted],
        "drift_known": any(row.index is not None for row in found.drift),
        "answers": _answers(found),
        "galleries": galleries,
        "notes": _notes(notes) if notes else None,
        "checklist": _checklist(found, request),
    }


def _answers(found: Evaluation) -> str:
    """How many images got which answer, a sentence."""
    given = [answer.probabilities[found.judged_by] for answer in found.answers if answer.probabilities]
    if not given:
        return "No image got an answer."
    share = sum(probability >= found.spec.threshold for probability in given) / len(given)
    abstained = counted(found.abstained, "is no radiograph", "are no radiographs")
    return (
        f"Of {counted(len(given), 'image')} with an answer {share:.0%} reach the threshold; {abstained} for the gate."
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _figures(found: Evaluation) -> dict[str, Any]:
    head = ("figure", "value", "interval", "n", "method")
    return table_of("Figures", [head, *map(_row, found.figures)], text=(0, 4))


def _row(figure: Any) -> tuple[str, ...]:
    estimate = figure.estimate
    is_known = estimate.value is not None
    return (
        figure.name,
        f"{estimate.value:.3f}" if is_known else "not defined",
        f"{estimate.low:.3f} to {estimate.high:.3f}" if is_known else "",
        str(figure.n),
        f"{figure.method}; {figure.source}",
    )


def _comparisons(found: Evaluation) -> dict[str, Any]:
    head = (
        *("other", "AUC, this minus other", "p", "decisions that differ"),
        *("right in one alone (this, other)", "McNemar p", "not inferior"),
    )
    rows = [_compared(name, other) for name, other in found.comparisons.items()]
    return table_of("Comparisons", [head, *rows])


def _stress(rows: list[StressRow]) -> list[dict[str, Any]]:
    """A table of what was turned, folded, for the curve shows it, and one of all else."""
    turned, others = ([row for row in rows if (row.test == ROTATION) is is_turned] for is_turned in (True, False))
    return [
        *([_stress_table("Turned images", turned, f"{len(turned)} angles")] if turned else []),
        *([_stress_table("Changed images", others, "")] if others else []),
    ]


def _stress_table(label: str, rows: list[StressRow], folded: str) -> dict[str, Any]:
    head = (
        *("change", "how much", "images", "AUC", "AUC, changed minus unchanged"),
        *("decisions changed", "abstained", "p, corrected", "remark"),
    )
    body = [
        (
            *(row.test, row.setting, str(row.images), str(row.auc), str(row.auc_change)),
            *(str(row.decisions_changed), f"{row.abstained:.1%}"),
            *("too few" if row.p is None else f"{row.p:.3f}", row.remark),
        )
        for row in rows
    ]
    return table_of(label, [head, *body], text=(8,), folded=folded)


def _drift(rows: list[DriftRow]) -> dict[str, Any]:
    head = (
        "quantity",
        "beside",
        "median here",
        "median of the run",
        "index",
        "told from",
        "n",
        "n of the run",
        "remark",
    )
    body = [
        (
            *(row.quantity, row.beside, f"{row.median:.4g}", f"{row.median_reference:.4g}"),
            *("too few" if value is None else f"{value:.2f}" for value in (row.index, row.limit)),
            *(str(row.n), str(row.n_reference), "parted" if row.parted else ""),
        )
        for row in rows
    ]
    return table_of("Drift", [head, *body], text=(1,))


def _notes(notes: list[tuple[str, str]]) -> dict[str, Any]:
    folded = "1 image" if len(notes) == 1 else f"{len(notes)} images"
    return table_of("Images without an answer", [("image", "why"), *notes], text=(0, 1), folded=folded)


def _checklist(found: Evaluation, request: EvaluationRequest) -> dict[str, Any]:
    items = claim_items(_claims(found, request), _idle(found))
    rows = [(item.topic, item.status, item.text) for item in items]
    return table_of("CLAIM checklist", [("item", "status", "answer, or what is to be told"), *rows], text=(0, 2))


def _estimates(row: Any) -> dict[str, Estimate]:
    return {name: getattr(row, name) for name in ("auc", "sensitivity", "specificity")}


def _looks(found: Evaluation) -> str:
    parts = []
    for column, values in interactions(found.subgroups).items():
        told = ", ".join(
            f"{name} {'not defined' if value is None else f'{value:.3f}'}" for name, value in values.items()
        )
        parts.append(f"{column}: {told}")
    return "; ".join(parts)


def _compared(name: str, other: dict[str, Any]) -> tuple[str, ...]:
    difference = other["auc_difference"]
    return (
        name,
        "not defined" if difference is None else str(Estimate(**difference)),
        "" if other["auc_p"] is None else f"{other['auc_p']:.3f}",
        str(other["decisions_that_differ"]),
        f"{other['right_in_this_alone']}, {other['right_in_the_other_alone']}",
        f"{other['mcnemar_p']:.3f}",
        _not_inferior(other),
    )


def _not_inferior(other: dict[str, Any]) -> str:
    if other["not_inferior"] is None:
        return "not defined"
    return f"{'not inferior' if other['not_inferior'] else 'not shown'} (margin {other['margin']:g} of AUC)"


def _galleries(found: Evaluation) -> list[dict[str, Any]]:
    """The worst mistakes and the least certain images, with heatmaps where the network has one."""
    rows = [row for row, answer in enumerate(found.answers) if answer.probabilities]
    probabilities = np.array([found.answers[row].probabilities[found.judged_by] for row in rows])
    labels = np.array([found.subjects.images[row].label for row in rows])
    threshold = found.spec.threshold
    missed = [i for i in np.argsort(probabilities) if labels[i] == 1 and probabilities[i] < threshold]
    false = [i for i in np.argsort(-probabilities) if labels[i] == 0 and probabilities[i] >= threshold]
    close = list(np.argsort(np.abs(probabilities - threshold)))
    kinds = (
        ("missed", "Missed fractures", "The fractured images with the lowest probabilities.", missed),
        ("false", "False alarms", "The images without a fracture with the highest probabilities.", false),
        ("close", "Least certain", "The images whose probability is closest to the threshold.", close),
    )
    return [
        {
            "id": name,
            "name": title,
            "says": says,
            "pictures": [_picture(found, rows[i], float(probabilities[i])) for i in chosen[:_MISTAKES]],
        }
        for name, title, says, chosen in kinds
        if chosen
    ]


def _picture(found: Evaluation, row: int, probability: float) -> dict[str, str]:
    image = found.subjects.images[row]
    label = found.spec.labels[image.label or 0]
    return picture_of(
        _shown(found, found.subjects.root / image.path),
        _SIDE * 2,
        f"{Path(image.path).name}: probability {probability:.3f}, labelled {label}",
        f"Radiograph labelled {label}, probability of a fracture {probability:.3f}.",
    )


def _shown(found: Evaluation, path: Path) -> Image.Image:
    """The image, with the heatmap over it where there is one."""
    predictor = found.heatmaps
    if predictor is not None:
        from edge_runtime.heatmap import draw_overlay, from_dict

        try:
            heatmap = predictor.predict(path, heatmap=True).heatmap
        except EdgeError:
            heatmap = None
        if heatmap is not None:
            return draw_overlay(read_grey(path, _SIDE), from_dict(heatmap))
    return Image.fromarray(read_grey(path, _SIDE))


def _claims(found: Evaluation, request: EvaluationRequest) -> dict[str, str]:
    subjects, spec = found.subjects, found.spec
    left_out = len(subjects.left_out) + len(found.failed)
    claims = {
        "Missing and unreadable data": f"{left_out} images could not be read or judged; they are listed in this page",
        "Model": f"{spec.name}, file {found.judged_by}, SHA-256 {found.model_sha256}",
        "Preprocessing": f"grey, {spec.aspect} to {spec.size} x {spec.size} pixels, {spec.resampling}",
        "Software and hardware": f"fracture-edge {__version__}, {platform.platform()}",
        "Operating point": f"{spec.threshold:.4f}, as frozen in the network's file; chosen on validation images",
    }
    if found.radiographs is not None:
        claims["Measures of performance"] = f"{len(found.figures)} figures, each with its method"
        claims["Uncertainty"] = "95 % intervals over radiographs, methods in the table"
        claims["Failure analysis"] = "the worst mistakes are shown in this page"
    if request.folder is None and not subjects.leaked:
        claims["Data partitions"] = "test split of the run: no radiograph of it trained or chose anything"
    looked = [
        *([f"subgroups by {', '.join(request.by)}"] if found.subgroups else []),
        *([f"images changed in {', '.join(dict.fromkeys(row.test for row in found.stress))}"] if found.stress else []),
    ]
    if looked:
        claims["Robustness"] = "; ".join(looked)
    if found.heatmaps is not None:
        claims["Explainability"] = "a map of where the network looked; how well it points is not measured here"
    return claims


def _idle(found: Evaluation) -> dict[str, str]:
    """Items of the checklist that do not apply, and why."""
    why: dict[str, str] = {}
    if found.radiographs is None:
        unlabelled = "the images have no labels of both classes: nothing is measured"
        why |= dict.fromkeys(("Measures of performance", "Uncertainty", "Failure analysis"), unlabelled)
    if found.heatmaps is None:
        why["Explainability"] = "the network tells no place"
    return why
