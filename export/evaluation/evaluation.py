"""One evaluation from images to a folder: predictions.csv, metrics.json, report.html."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import MANIFEST, read_manifest
from edge_runtime.errors import DataError
from edge_runtime.predictor import Predictor
from edge_runtime.whole_files import require_replaceable, whole_folder
from export.evaluation.changes import rotations, shortcut_changes
from export.evaluation.drift import DriftRow, drift_from_run
from export.evaluation.figures import Radiographs, comparison, figures_of, subgroups_of
from export.evaluation.judging import PART, Judge, OnDevice, judge_all, judges_of
from export.evaluation.papers import FACTS, PROTOCOL, write_papers
from export.evaluation.records import FORMAT, PLOT_FORMATS, PLOT_NAMES, PLOTS, Evaluation, EvaluationRequest
from export.evaluation.stress import StressRow, some_of, stress
from export.evaluation.subjects import RESERVED, Progress, Subjects, patients_of, subjects_of_folder, subjects_of_run
from export.inputs.run_reader import open_network
from train.metrics import per_group

log = logging.getLogger(__name__)

PREDICTIONS, METRICS, REPORT = "predictions.csv", "metrics.json", "report.html"
_UNTOLD = "not told"  # value of a column where the table has none, or not the image
_SEVERAL = "several"  # value of a column whose files of one radiograph differ


def evaluate(request: EvaluationRequest, progress: Progress) -> Evaluation:
    """Judges the images and writes the folder, whole or not at all.

    Raises:
        DataError: images or groups are missing or unfit, or `out` holds something else.
        ModelError: the model is missing, altered or unfit.
        DependencyError: no engine for it is installed.
    """
    require_replaceable(request.out, is_evaluation, f"--out {request.out}")
    _check_run(request)
    judges = judges_of(request.source, request.engine, request.radiograph_gate, request.operating_point)
    if request.against is not None:
        judges |= _others(request, judges)
    subjects = _subjects(request, progress)
    unknown = sorted(set(request.by) - {name for image in subjects.images for name in image.columns})
    if unknown:
        raise DataError(f"--by {','.join(unknown)}: index.csv beside the images has no such column")
    unfinished = request.out.parent / f".{request.out.name}.unfinished"
    answers = judge_all(subjects, judges, unfinished / PART, progress)
    judged_by, *others = judges
    spec = judges[judged_by].spec
    decides = judges[judged_by]
    found = Evaluation(spec, judged_by, decides.sha256, subjects, answers, None, _heatmaps(decides))
    found = _with_figures(found, request, {name: judges[name].spec.threshold for name in others})
    found = replace(
        found,
        stress=_stress(found, request, decides, unfinished / PART, progress),
        drift=_drift(found, request, progress),
    )
    with whole_folder(request.out, is_evaluation) as draft:
        _write_predictions(draft / PREDICTIONS, found)
        (draft / METRICS).write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        from export.evaluation.page import write_page

        write_page(draft / REPORT, found, request)
        write_papers(draft, found, request.source)
    shutil.rmtree(unfinished, ignore_errors=True)
    return found


def is_evaluation(folder: Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    try:
        ours = json.loads((folder / METRICS).read_bytes())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        return False
    written = {PREDICTIONS, METRICS, REPORT, FACTS, PROTOCOL, PLOTS}
    named = {f"{name}.{kind}" for name in PLOT_NAMES for kind in PLOT_FORMATS}
    plots = {path.name for path in (folder / PLOTS).iterdir()} if (folder / PLOTS).is_dir() else set()
    return ours and {path.name for path in folder.iterdir()} <= written and plots <= named


def _heatmaps(judge: Judge) -> Predictor | None:
    return judge.predictor if isinstance(judge, OnDevice) and judge.predictor.has_heatmap else None


def _subjects(request: EvaluationRequest, progress: Progress) -> Subjects:
    if request.folder is not None:
        return subjects_of_folder(request.folder, request.groups, request.positive, progress)
    run = request.run or request.source
    if not (run / "split.csv").is_file():
        raise DataError("which images? Give a FOLDER, or --run RUN for the test split of a run")
    if request.groups or request.positive:
        raise DataError("--groups and --positive are for a FOLDER: a run knows its own groups and labels")
    subjects = subjects_of_run(run, request.data)
    return replace(subjects, leaked=subjects.leaked or _was_trained_on(request.source))


def _was_trained_on(source: Path) -> bool:
    """Whether a bundle's network has seen its test images, as one that was fitted again on all of them has."""
    return (source / MANIFEST).is_file() and read_manifest(source).get("leaked") is True


def _stress(
    found: Evaluation, request: EvaluationRequest, judge: Judge, part: Path, progress: Progress
) -> list[StressRow]:
    changes = [*(rotations() if request.rotation else []), *(shortcut_changes() if request.shortcuts else [])]
    if not changes:
        return []
    subjects, answers = some_of(found.subjects, found.answers, request.changed_images)
    return stress(subjects, answers, judge, changes, progress, part)


def _drift(found: Evaluation, request: EvaluationRequest, progress: Progress) -> list[DriftRow]:
    """From the run that is named, or is the source, where the images are others than its own."""
    run = _run_of(request)
    if request.folder is None or run is None:
        return []
    return drift_from_run(run, request.data, found.subjects, found.answers, found.judged_by, progress)


def _run_of(request: EvaluationRequest) -> Path | None:
    """The run that is named, or is the source itself."""
    return request.run or (request.source if (request.source / "split.csv").is_file() else None)


def _check_run(request: EvaluationRequest) -> None:
    """Opens the run, before minutes go into images that are held to it.

    Raises:
        DataError: --data without a run.
        ModelError: it is no run.
    """
    run = _run_of(request)
    if run is not None:
        open_network(run, None, request.data)
    elif request.data is not None:
        raise DataError("--data: tells where a run's radiographs are; give --run RUN too")


def _others(request: EvaluationRequest, judges: Mapping[str, Judge]) -> dict[str, Judge]:
    """The network of --against, under a name of its own."""
    source = request.against or Path()
    name, judge = next(iter(judges_of(source, request.engine, False).items()))
    return {f"{source.name}/{name}" if name in judges or source.is_dir() else source.name: judge}


def _with_figures(found: Evaluation, request: EvaluationRequest, thresholds: Mapping[str, float]) -> Evaluation:
    rows = [row for row, answer in enumerate(found.answers) if answer.probabilities]
    images = [found.subjects.images[row] for row in rows]
    labels = np.array([-1 if image.label is None else image.label for image in images], np.int64)
    if set(labels.tolist()) != {0, 1}:
        log.warning("no figures: they need labelled images of both classes")
        return found
    groups = np.unique([image.group for image in images], return_inverse=True)[1]
    patients = patients_of(images, groups)

    def of(name: str, threshold: float) -> Radiographs:
        probabilities = np.array([found.answers[row].probabilities[name] for row in rows])
        return Radiographs(*per_group(labels, probabilities, groups), threshold, patients)

    radiographs = of(found.judged_by, found.spec.threshold)
    columns = {
        name: _by_radiograph([image.columns.get(name) or _UNTOLD for image in images], groups) for name in request.by
    }
    return replace(
        found,
        radiographs=radiographs,
        figures=figures_of(radiographs, request.prevalences, found.spec.coverage),
        subgroups=subgroups_of(radiographs, columns),
        comparisons={
            name: comparison(radiographs, of(name, threshold), request.margin) for name, threshold in thresholds.items()
        },
    )


def _by_radiograph(values: Sequence[str], groups: NDArray[np.int64]) -> list[str]:
    """The value of each group; those whose files differ have `several`."""
    of_group: dict[int, set[str]] = {}
    for value, group in zip(values, groups.tolist(), strict=True):
        of_group.setdefault(group, set()).add(value)
    return [next(iter(found)) if len(found) == 1 else _SEVERAL for _, found in sorted(of_group.items())]


def _write_predictions(path: Path, found: Evaluation) -> None:
    columns = list(dict.fromkeys(name for image in found.subjects.images for name in image.columns))
    others = [name for name in dict.fromkeys(name for answer in found.answers for name in answer.probabilities)]
    others = [name for name in others if name != found.judged_by]
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        head = [*RESERVED, "probability", *(f"probability of {name}" for name in others), "decision", "abstained"]
        writer.writerow([*head, "reason", *columns])
        for image, answer in zip(found.subjects.images, found.answers, strict=True):
            probability = answer.probabilities.get(found.judged_by)
            decision = "" if probability is None else str(int(probability >= found.spec.threshold))
            # repr keeps every digit: the figures can be counted again from the file, exactly.
            digits = ["" if p is None else repr(p) for p in (answer.probabilities.get(name) for name in others)]
            writer.writerow(
                [
                    *(image.path, image.sha256, image.group, "" if image.label is None else image.label, image.split),
                    *("" if probability is None else repr(probability), *digits, decision, int(answer.abstained)),
                    *(answer.reason, *(image.columns.get(name, "") for name in columns)),
                ]
            )
