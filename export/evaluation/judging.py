"""Every image through the model files, one after the other; what a kill interrupts goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from edge_runtime.bundle import MANIFEST, PRECISIONS, model_files, open_model, read_manifest
from edge_runtime.engines import AUTO, suffix_of
from edge_runtime.errors import DataError, EdgeError, ImageError
from edge_runtime.predictor import Prediction, Predictor
from edge_runtime.spec import ModelSpec
from export.evaluation.subjects import Progress, Subject, Subjects

PART = "predictions.jsonl"  # of an unfinished evaluation: its first line says what was judged by what


@dataclass(frozen=True)
class Answer:
    """What a network says of one image."""

    path: str  # as of the subject
    probabilities: Mapping[str, float]  # by model file, the one that decides first; empty: there is no answer
    abstained: bool  # no decision: the radiograph gate had an objection, or the network's coverage leaves it in doubt
    reason: str  # of that, or why there is no answer


class Judge(Protocol):
    """One way to a probability."""

    @property
    def spec(self) -> ModelSpec:
        """Of the network."""

    @property
    def sha256(self) -> str:
        """Of the network's file."""

    def answer(self, source: Path | bytes) -> tuple[float, bool, str]:
        """(probability, abstained, reason) of an image file, or of the bytes of one.

        Raises:
            ImageError: it cannot be judged.
        """


class OnDevice:
    """A model file, as edge-infer judges with it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def spec(self) -> ModelSpec:
        """Of the network."""
        return self.predictor.model.spec

    @property
    def sha256(self) -> str:
        """Of the model."""
        return self.predictor.model.sha256

    def answer(self, source: Path | bytes) -> tuple[float, bool, str]:
        """As `Judge.answer`."""
        prediction: Prediction = self.predictor.predict(source)
        return prediction.probability, prediction.decision == "abstain", prediction.reason


class InKeras:
    """The network of a run, before any conversion; it has no radiograph gate."""

    def __init__(self, run: Path) -> None:
        import keras

        from edge_runtime.hashing import sha256_of
        from export.inputs.run_reader import open_network

        network = open_network(run, None, None)
        self._model = keras.models.load_model(network.model, compile=False)
        self.spec = network.spec
        self.sha256 = sha256_of(network.model)

    def answer(self, source: Path | bytes) -> tuple[float, bool, str]:
        """As `Judge.answer`."""
        import numpy as np

        from edge_runtime.images import read_grey
        from edge_runtime.preprocess import preprocess

        grey = preprocess(read_grey(source, self.spec.size), self.spec).astype(np.float32) / 255.0
        answers = self._model(np.repeat(grey[np.newaxis, ..., np.newaxis], 3, axis=-1), training=False)
        first = answers[0] if isinstance(answers, list | tuple) else answers
        probability = float(np.asarray(first).ravel()[0])
        doubt = self.spec.doubt(probability)
        return probability, bool(doubt), doubt


def judges_of(source: Path, engine: str = AUTO, gate: bool = True, point: str | None = None) -> dict[str, Judge]:
    """The model files of a source by name, the one that decides first: of a bundle its best, and the float one beside.

    Args:
        source: bundle, model file or run.
        engine: as for `Predictor`.
        gate: whether what is no radiograph gets no decision.
        point: operating point.

    Raises:
        ModelError: it is none of these, or altered.
        DependencyError: no engine for it is installed.
    """
    if (source / "model.keras").is_file() and not (source / MANIFEST).is_file():
        if point is not None:
            raise DataError("--operating-point: a run decides at its own threshold; export it first")
        return {"model.keras": InKeras(source)}
    best = OnDevice(Predictor(source, engine, None, gate, operating_point=point))
    judges: dict[str, Judge] = {best.predictor.model.path.name: best}
    if source.is_dir():
        suffix = suffix_of(best.predictor.model.engine)
        reference = f"model_{PRECISIONS[-1]}{suffix}"
        if reference in model_files(read_manifest(source)) and reference not in judges:
            opened = open_model(source / reference, best.predictor.model.engine)
            judges[reference] = OnDevice(Predictor(opened, engine, None, False))
    return judges


def judge_all(subjects: Subjects, judges: Mapping[str, Judge], part: Path, progress: Progress) -> list[Answer]:
    """An answer of each image, in their order; those that an interrupted evaluation has are taken from it.

    Args:
        subjects: what to judge.
        judges: by name of the model file.
        part: file that keeps the answers until the evaluation is whole.
        progress: called with (stage, done, total).

    Raises:
        StorageError: an answer cannot be kept.
    """
    known = dict(_known(part, judges))
    part.parent.mkdir(parents=True, exist_ok=True)
    answers = []
    with part.open("w", encoding="utf-8") as stream:
        _write(stream, _head(judges))
        for image in subjects.images:  # what was known first, so that nothing of it is lost by a second kill
            if (image.path, image.sha256) in known:
                _write(stream, {"sha256": image.sha256, **asdict(known[image.path, image.sha256])})
        stream.flush()
        for done, image in enumerate(subjects.images, 1):
            answer = known.get((image.path, image.sha256))
            if answer is None:
                answer = _judge(subjects.root, image, judges)
                _write(stream, {"sha256": image.sha256, **asdict(answer)})
                stream.flush()
            answers.append(answer)
            progress("judging", done, len(subjects.images))
    return answers


def _judge(root: Path, image: Subject, judges: Mapping[str, Judge]) -> Answer:
    probabilities: dict[str, float] = {}
    abstained, reason = False, ""
    try:
        for number, (name, judge) in enumerate(judges.items()):
            probabilities[name], objects, why = judge.answer(root / image.path)
            if number == 0:
                abstained, reason = objects, why if objects else ""
    except (ImageError, EdgeError) as error:
        return Answer(image.path, {}, False, str(error))
    return Answer(image.path, probabilities, abstained, reason)


def _head(judges: Mapping[str, Judge]) -> dict[str, Any]:
    return {"judged_by": {name: [judge.sha256, judge.spec.threshold] for name, judge in judges.items()}}


def _known(part: Path, judges: Mapping[str, Judge]) -> Iterator[tuple[tuple[str, str], Answer]]:
    """Answers of an evaluation that was interrupted, where the same files gave them."""
    try:
        lines = part.read_text(encoding="utf-8").split("\n")[:-1]  # the last one may be half a line
        records: Sequence[dict[str, Any]] = [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return
    if not records or records[0] != _head(judges):
        return
    for record in records[1:]:
        yield (record["path"], record.pop("sha256")), Answer(**record)


def _write(stream: Any, record: Mapping[str, Any]) -> None:
    stream.write(json.dumps(record) + "\n")
