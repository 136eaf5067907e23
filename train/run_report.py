"""The page of a run: figures, operating points, plots, settings and what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.audit import patients
from train.config import TrainConfig
from train.data.split_data import SplitData, is_phantoms
from train.evaluation import Evaluation
from train.metrics import Figures, per_group
from train.operating_point import OperatingPoint
from train.pages import made_today, render, shown_path, table_of
from train.pages.charts import histogram, plot_of, reliability_diagram, roc
from train.pages.pictures import picture_of
from train.plots import (
    LEAKED_MARK,
    draw_curves,
    phase_starts,
    save_confusion,
    save_counts,
    save_history,
    save_roc,
    save_samples,
)

COMMAND = "edge-train"

_SAMPLES_PER_CLASS = 6
_SIDE = 160  # pixels of a picture
_SECTIONS = (
    *(("figures", "Figures"), ("point", "Operating points"), ("plots", "Plots"), ("decisions", "Decisions")),
    *(("training", "Training"), ("settings", "Settings")),
)


def write_report(
    folder: Path,
    config: TrainConfig,
    data: SplitData,
    evaluation: Evaluation,
    probabilities: NDArray[np.float64],
    history: list[dict[str, Any]],
) -> None:
    """Writes `plots/` and `report.html`.

    Args:
        folder: of the run.
        config: all settings.
        data: images and split.
        evaluation: figures of the network.
        probabilities: (n,) of every file, NaN in train.
        history: one record an epoch.
    """
    plots = folder / "plots"
    plots.mkdir()
    labels, mark = data.inventory.labels, LEAKED_MARK if data.leaks else ""
    test = data.records_in("test")
    save_samples(plots / "samples.png", *_samples(data, config.seed))
    save_counts(plots / "counts.png", _counts(data), labels)
    save_history(plots / "history.png", history)
    save_confusion(plots / "confusion.png", evaluation.test_files.confusion, labels, mark)
    save_roc(plots / "roc.png", data.labels[test], probabilities[test], evaluation.test_files.auc, mark)
    radiographs = per_group(data.labels[test], probabilities[test], data.groups[test])
    contents = {
        **_verdict(config, data, evaluation),
        "rows": evaluation.rows(),
        "points": _points(evaluation.operating_points),
        "calibration": _calibration(evaluation),
        "coverage": _coverage(evaluation, labels),
        "plots": _plots(evaluation, *radiographs),
        "confusions": [
            _confusion(
                "Radiographs of the test split: true class, and what was decided", evaluation.test_radiographs, labels
            ),
            _confusion("Files of the test split: true class, and what was decided", evaluation.test_files, labels),
        ],
        "history": _history(history),
        "counts": _counts_table(data),
        "samples": _pictures(data, config.seed),
        "settings": _settings(config),
        "left_out": _left_out(data),
    }
    (folder / "report.html").write_bytes(render("train", "run.html", COMMAND, contents))


def _verdict(config: TrainConfig, data: SplitData, evaluation: Evaluation) -> dict[str, Any]:
    figures = evaluation.test_radiographs
    left_out = data.inventory.unreadable
    root = data.inventory.root
    images = f"{len(data.inventory.records)} images of {len(np.unique(data.groups))} radiographs"
    return {
        "title": f"{config.model}: training run",
        "mood": "bad" if data.leaks else "",
        "facts": [
            f"{config.model}, seed {config.seed}",
            "generated phantoms" if is_phantoms(root) else root.name,
            images,
            *made_today(),
        ],
        "contents": [*_SECTIONS, *([("left", "Left out")] if left_out else [])],
        "leaked": LEAKED_MARK if data.leaks else "",
        "auc": figures.auc,
        "n": figures.count,
        "positives": figures.positives,
        "threshold": figures.threshold,
        "rule": _rule(evaluation.operating_point),
        "sensitivity": figures.sensitivity,
        "specificity": figures.specificity,
        "patients": _patients(data),
    }


def _patients(data: SplitData) -> str:
    """A sentence where nobody told which radiographs are of one patient; phantoms have none."""
    note = "" if is_phantoms(data.inventory.root) else patients.unknown(data.inventory)
    return f"{note[0].upper()}{note[1:]}." if note else ""


def _rule(point: OperatingPoint) -> str:
    if point.wanted is None:
        return "chosen by Youden's index, smoothed"
    return f"chosen for a {point.rule} of {point.wanted:.2f}"


def _points(points: list[OperatingPoint]) -> dict[str, Any]:
    head = ("operating point", "threshold", "how", "sensitivity", "specificity")
    rows = [
        (point.name, f"{point.threshold:.3f}", _rule(point), str(point.sensitivity), str(point.specificity))
        for point in points
    ]
    return table_of("Operating points", [head, *rows], text=(2,))


def _calibration(evaluation: Evaluation) -> str:
    return (
        f"Probabilities were made to follow the frequency of fractures: logits were moved by "
        f"{evaluation.prior_shift:+.2f} and divided by a temperature of {evaluation.temperature:.2f}."
    )


def _coverage(evaluation: Evaluation, labels: tuple[str, str]) -> dict[str, Any] | None:
    if evaluation.coverage is None:
        return None
    limits = evaluation.coverage.limits
    head = ("class", "left open by", "set aside", "test", f"covered, {limits.level:g} wished", "no decision")
    by = (f"probabilities up to {limits.most_negative:.3f}", f"probabilities from {limits.least_positive:.3f}")
    rows = [
        (labels[row.label], by[row.label], str(limits.radiographs[row.label]), str(row.count))
        + (str(row.covered), str(row.abstained))
        for row in evaluation.coverage.test
    ]
    return table_of("Coverage by class, one file a patient", [head, *rows], text=(0, 1))


def _plots(
    evaluation: Evaluation, labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> list[dict[str, Any]]:
    figures = evaluation.test_radiographs
    if figures.auc.value is None:  # one class: no curve
        return []
    point = f"sensitivity {figures.sensitivity}, specificity {figures.specificity}"
    return [
        plot_of(
            roc(labels, probabilities, figures.threshold),
            "ROC curve per radiograph with its 95 % band; the dot is the operating point, the dotted line is chance",
            f"ROC curve of the test split: area {figures.auc}; the operating point has {point}.",
        ),
        plot_of(
            reliability_diagram(labels, probabilities),
            "Reliability: dots on the dotted line mean what they say; larger dots are more radiographs",
            f"Reliability diagram of {labels.size} radiographs of the test split.",
        ),
        plot_of(
            histogram(probabilities, labels, figures.threshold),
            "Probabilities; the dotted line is the threshold",
            f"Histogram of the probabilities of {labels.size} radiographs by their label.",
        ),
    ]


def _confusion(label: str, figures: Figures, labels: tuple[str, str]) -> dict[str, Any]:
    rows = [(f"is {name}", *map(str, row)) for name, row in zip(labels, figures.confusion, strict=True)]
    return table_of(label, [("true class", *(f"decided {name}" for name in labels)), *rows])


def _history(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    starts, last = phase_starts(history), {"accuracy": "val_accuracy", "loss": "val_loss", "AUC": "val_auc"}
    line = ""
    if starts:
        phases = " and ".join(f"“{history[start]['phase']}”" for start in starts)
        line = f"; a dotted line stands where the phase {phases} begins"
    return [
        plot_of(
            figure,
            f"{name[0].upper()}{name[1:]} per epoch{line}",
            f"{name} over {len(history)} epochs; on validation images it ends at {history[-1][last[name]]:.3f}.",
        )
        for name, figure in draw_curves(history).items()
    ]


def _counts_table(data: SplitData) -> dict[str, Any]:
    rows = [(split, *map(str, counts)) for split, counts in _counts(data).items()]
    return table_of("Files of each split and class", [("split", *data.inventory.labels), *rows])


def _settings(config: TrainConfig) -> dict[str, Any]:
    rows = [
        (name, shown_path(value) if isinstance(value, str) else json.dumps(value))
        for name, value in config.to_dict().items()
    ]
    return table_of("Settings", [("setting", "value"), *rows], text=(1,), folded=f"{len(rows)} settings")


def _left_out(data: SplitData) -> dict[str, Any] | None:
    rows = [(item.path, item.why) for item in data.inventory.unreadable]
    folded = "1 file" if len(rows) == 1 else f"{len(rows)} files"
    return table_of("Files left out", [("file", "why"), *rows], text=(0, 1), folded=folded) if rows else None


def _pictures(data: SplitData, seed: int) -> list[dict[str, str]]:
    images_u8, titles = _samples(data, seed)
    return [
        picture_of(np.ascontiguousarray(image), _SIDE, title, f"Training image labelled {title}")
        for image, title in zip(images_u8, titles, strict=True)
    ]


def _counts(data: SplitData) -> dict[str, tuple[int, int]]:
    return {
        split: (int(np.sum(labels == 0)), int(np.sum(labels == 1)))
        for split, labels in ((split, data.labels[data.records_in(split)]) for split in data.names)
    }


def _samples(data: SplitData, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    rows, labels = data.pictures_in("train")
    rng = np.random.default_rng([seed, 2])
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:_SAMPLES_PER_CLASS] for label in (0, 1)]
    titles = [data.inventory.labels[label] for label, members in enumerate(chosen) for _ in members]
    return data.images_u8[rows[np.concatenate(chosen)]], titles
