"""report.html of a bundle: one page that shows no user's image and has no date, so that its bytes come out again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.bundle import FLOAT32
from edge_runtime.images import read_grey
from export.bundle.facts import BundleFacts
from export.bundle.golden import EXPECTED, FOLDER
from export.bundle.model_card import LEAKED, quantisation, tried_table, versions
from export.parity.gate import FAILED, PASSED, meaning_of
from export.parity.table import (
    COLUMNS,
    reasons,
    shift_caption,
    shift_rows,
    shift_table,
    table_rows,
    tried_caption,
    without_empty_columns,
)
from train.pages import render, shown_path, table_of
from train.pages.pictures import picture_of

COMMAND = "edge-export"

_SIDE = 160  # pixels of a picture


def report_html(facts: BundleFacts, folder: Path) -> bytes:
    """The page.

    Args:
        facts: of the bundle.
        folder: of the bundle, with its golden images and model files.
    """
    return render("export.bundle", "bundle.html", COMMAND, _contents(facts, folder))


def _contents(facts: BundleFacts, folder: Path) -> dict[str, Any]:
    spec = facts.spec
    parity = replace(facts.parity, measured_on=shown_path(facts.parity.measured_on))
    return {
        "title": f"{spec.name}: a bundle",
        "mood": {PASSED: "good", FAILED: "bad"}.get(parity.verdict, ""),
        "facts": [
            f"{spec.name}, trained on {spec.domain}s",
            f"compared on {parity.images} images of {parity.radiographs} radiographs ({parity.measured_on})",
            f"fracture-edge {__version__}",
        ],
        "contents": [
            ("figures", "Figures"),
            *([("shift", "Under shift")] if shift_rows(parity) else []),
            *(("use", "How to use it"), ("golden", "Golden images")),
            *([("tried", "Recipes tried")] if parity.tried else []),
            ("made", "How it was made"),
        ],
        "verdict": parity.verdict,
        "means": meaning_of(parity.verdict),
        "reasons": reasons(parity),
        "leaked": LEAKED.replace("**", "") if facts.leaked else "",
        "spec": spec,
        "figures": table_of("Files beside the trained network", without_empty_columns([COLUMNS, *table_rows(parity)])),
        "has_gate": parity.limits is not None,
        "shift": shift_table(parity),
        "shift_caption": shift_caption(parity),
        "golden": _golden(facts, folder / FOLDER),
        "points": _points(facts),
        "coverage": _coverage(facts),
        "files": _files(folder),
        "tried": table_of("Recipes tried", tried_table(parity)) if parity.tried else None,
        "tried_caption": tried_caption(parity) if parity.tried else "",
        "made": _made(facts),
    }


def _points(facts: BundleFacts) -> dict[str, Any] | None:
    if not facts.spec.operating_points:
        return None
    head = ("operating point", "threshold", "sensitivity", "specificity")
    rows = [
        (point.name, f"{point.threshold:.3f}", *map(_triple, (point.sensitivity, point.specificity)))
        for point in facts.spec.operating_points
    ]
    return table_of("Operating points", [head, *rows])


def _coverage(facts: BundleFacts) -> dict[str, Any] | None:
    if not facts.coverage:
        return None
    negative, positive = facts.spec.labels
    head = ("file", "coverage", f"{negative} left open up to", f"{positive} left open from", "radiographs set aside")
    rows = [
        (name, f"{one.level:g}", f"{one.most_negative:.3f}", f"{one.least_positive:.3f}")
        + (" and ".join(map(str, one.radiographs)),)
        for name, one in facts.coverage.items()
    ]
    return table_of("Where each file abstains", [head, *rows])


def _triple(found: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*found)


def _files(folder: Path) -> dict[str, Any]:
    models = sorted(path for path in folder.iterdir() if path.name.startswith("model_"))
    rows = [(path.name, f"{path.stat().st_size / 1e6:.2f}", _runs_on(path)) for path in models]
    return table_of("Model files", [("file", "MB", "for"), *rows], text=(2,))


def _runs_on(path: Path) -> str:
    engine = "LiteRT or tflite-runtime" if path.suffix == ".tflite" else "ONNX Runtime"
    where = "comparison, and devices with a float unit to spare" if FLOAT32 in path.name else "the device"
    return f"{engine}, {where}"


def _golden(facts: BundleFacts, folder: Path) -> list[dict[str, str]]:
    """The golden images as pictures, with the answer that the best file has to give again."""
    expected = json.loads((folder / EXPECTED).read_text(encoding="utf-8"))
    pictures = []
    for name, answers in sorted(expected.items()):
        file = next((one for one in sorted(answers) if FLOAT32 not in one), min(answers))
        probability = _first(answers[file]["probability"])
        label = facts.spec.labels[int(probability >= facts.spec.threshold)]
        caption = f"{name}: {probability:.3f}, {label}"
        says = f"Generated phantom that {file} has to answer with {probability:.3f}"
        pictures.append(picture_of(read_grey(folder / name), _SIDE, caption, says))
    return pictures


def _first(value: Any) -> float:
    while isinstance(value, list):
        value = value[0]
    return float(value)


def _made(facts: BundleFacts) -> dict[str, Any]:
    rows = [
        ("quantisation", quantisation(facts)),
        ("folded away without changing an answer", f"{facts.folding.says}."),
        ("trained network", f"SHA-256 {facts.float_model_sha256}"),
        ("processors on which it was compared", ", ".join(facts.proven_on)),
        ("versions", versions(facts)),
    ]
    return table_of("How it was made", [("what", "how"), *rows], text=(0, 1))
