"""What stands beside the page: a label for people who use the network, and the plan by which its files may change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.bundle import MANIFEST, read_file, read_manifest
from export.evaluation.figures import FEWEST_OF_A_CLASS
from export.parity.gate import CLAIM, FAILED, PASSED, meaning_of
from train.pages import made_today, render, shown_path, table_of

if TYPE_CHECKING:
    from export.evaluation.records import Evaluation

COMMAND = "edge-evaluate"
FACTS, PROTOCOL = "model_facts.html", "modification_protocol.html"

_PARITY = "parity.json"
_SHOWN = ("AUC", "sensitivity", "specificity", "predictive value of fractured, here", "expected calibration error")
_LIMITS = {  # of the gate, by name: what they hold
    "auc": "the AUC per radiograph is not shown to fall by more than",
    "changed": "share of radiographs whose decision changes, at most",
    "distance": "no decision changes further from the threshold than",
    "percentile_99": "99th percentile of the change of probability, at most",
    "shift": "share of radiographs whose decision changes under the worst shift of the images, at most",
    "sensitivity": "the sensitivity is not shown to fall by more than",
    "specificity": "the specificity is not shown to fall by more than",
}


def write_papers(folder: Path, found: Evaluation, source: Path) -> None:
    """Writes the label, and the plan where the source is a bundle that was compared with its network.

    Args:
        folder: that exists.
        found: the evaluation.
        source: bundle, model file or run.

    Raises:
        ModelError: the bundle's parity.json is altered.
    """
    (folder / FACTS).write_bytes(render("export.evaluation", FACTS, COMMAND, _facts(found)))
    parity = parity_of(source)
    if parity is not None:
        page = render("export.evaluation", PROTOCOL, COMMAND, _protocol(found, parity))
        (folder / PROTOCOL).write_bytes(page)


def parity_of(source: Path) -> dict[str, Any] | None:
    """parity.json of a bundle whose files the gate judged; None of anything else.

    Raises:
        ModelError: it is altered.
    """
    if not (source / MANIFEST).is_file():
        return None
    manifest = read_manifest(source)
    if _PARITY not in manifest["files"]:
        return None
    parity: dict[str, Any] = json.loads(read_file(source, manifest, _PARITY))
    return parity if parity.get("limits") and parity.get("files") else None


def _facts(found: Evaluation) -> dict[str, Any]:
    spec, radiographs = found.spec, found.radiographs
    figures = {figure.name: figure.estimate for figure in found.figures}
    positives = 0 if radiographs is None else int(radiographs.labels.sum())
    negatives = 0 if radiographs is None else radiographs.labels.size - positives
    carries = min(positives, negatives) >= FEWEST_OF_A_CLASS and not found.subjects.leaked
    rows = [(name, str(figures[name])) for name in _SHOWN if name in figures]
    return {
        "title": f"Model facts: {spec.name}",
        "mood": "",
        "facts": [f"{found.judged_by} (SHA-256 {found.model_sha256[:12]}…)", *made_today()],
        "contents": [],
        "spec": spec,
        "n": positives + negatives,
        "positives": positives,
        "least": FEWEST_OF_A_CLASS,
        "origin": found.subjects.origin,
        "patients": found.subjects.patients_unknown,
        "leaked": found.subjects.leaked,
        "figures": table_of("Figures", [("figure", "value (95 % interval)"), *rows], text=(0,)) if carries else None,
        "warnings": _warnings(found),
    }


def _warnings(found: Evaluation) -> list[str]:
    """What this evaluation gave away, a sentence each."""
    domain = found.spec.domain
    told = [f"It knows {domain}s of its own data set, and gives any other image a probability as well."]
    if domain == "phantom":
        told.append("It learnt from generated phantoms alone: no answer of it says anything about a patient.")
    told += [
        f"In radiographs of {row.column} {row.value} its AUC is {row.auc}."
        for row in found.subgroups
        if not row.too_small and row.auc.high is not None and row.auc.high < (_area(found) or 0.0)
    ]
    told += [f"Images changed in {row.test} ({row.setting}): {row.remark}." for row in found.stress if row.remark]
    told += [f"These images part from the run's in {row.quantity}." for row in found.drift if row.parted]
    return told


def _area(found: Evaluation) -> float | None:
    return next((figure.estimate.value for figure in found.figures if figure.name == "AUC"), None)


def _protocol(found: Evaluation, parity: dict[str, Any]) -> dict[str, Any]:
    limits = [(says, f"{parity['limits'][name]:g}") for name, says in _LIMITS.items() if name in parity["limits"]]
    files = [
        (
            one["file"],
            f"{one['engine']} {one['engine_version']}",
            f"{one['radiograph_decisions_changed']} of {one['radiographs']}",
            f"{one['percentile_99_difference']:.3g}",
            one["verdict"],
        )
        for one in parity["files"]
    ]
    head = ("file", "engine", "decisions changed", "99th percentile", "verdict")
    return {
        "title": f"Modification protocol: {found.spec.name}",
        "mood": {PASSED: "good", FAILED: "bad"}.get(parity["verdict"], ""),
        "facts": [f"{found.judged_by} (SHA-256 {found.model_sha256[:12]}…)", *made_today()],
        "contents": [("what", "What may change"), ("limits", "Limits"), ("data", "Data"), ("after", "Afterwards")],
        "spec": found.spec,
        "verdict": parity["verdict"],
        "means": meaning_of(parity["verdict"]),
        "recipe": parity.get("recipe"),
        "claim": CLAIM,
        "limits": table_of("Limits", [("limit", "value"), *limits], text=(0,)),
        "files": table_of("Files", [head, *files]),
        "images": parity["images"],
        "radiographs": parity.get("radiographs", parity["images"]),
        "measured_on": shown_path(parity["measured_on"]),
        "reasons": [f"{one['file']}: {reason}" for one in parity["files"] for reason in one.get("reasons", [])],
    }
