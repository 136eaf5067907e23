"""What a trained network is worth: its temperature, and figures per file and per radiograph."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.spec import Coverage
from train.audit.levels import COVERAGE
from train.figures.conformal import coverage_of, is_in_doubt, left_open, one_of_each
from train.metrics import Estimate, Figures, first_of_each, measure, per_group, wilson
from train.operating_point import OperatingPoint, choose_operating_point, offered_points

if TYPE_CHECKING:
    import keras

    from train.fit.task import Task

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """Figures of one set of images."""

    title: str  # what was measured: `test, per radiograph`
    figures: Figures  # on it
    leaked: bool  # whether the set shares radiographs with train


@dataclass(frozen=True)
class Calibration:
    """How logits became probabilities that mean what they say: (logit + prior_shift) / temperature."""

    prior_shift: float
    temperature: float


@dataclass(frozen=True)
class ClassCoverage:
    """What a coverage does to one class of the test split, one file a patient."""

    label: int  # 0 negative, 1 positive
    count: int  # of files
    covered: Estimate  # whose class is left open; Wilson interval, as the next
    abstained: Estimate  # that get no decision


@dataclass(frozen=True)
class CoverageFigures:
    """Where the network abstains, and what it is worth."""

    limits: Coverage
    test: list[ClassCoverage]  # of the negative class, and of the positive


@dataclass(frozen=True)
class Evaluation:
    """Figures of a trained network."""

    leaked: bool  # whether any radiograph stands in two splits
    prior_shift: float  # added to the logits after training: both classes weighed the same in it
    temperature: float  # by which the logits were divided then
    operating_point: OperatingPoint  # chosen on the validation split
    operating_points: list[OperatingPoint]  # this one first, and others to choose from on the device
    val: Figures  # files of the validation split
    test_files: Figures  # files of the test split; interval of the AUC by patient, where told, else by radiograph
    test_radiographs: Figures  # the mean probability of each radiograph's files
    coverage: CoverageFigures | None = None  # None: the network never abstains

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types; without coverage where there is none."""
        record = asdict(self)
        if self.coverage is None:
            del record["coverage"]
        return record

    def rows(self) -> list[Row]:
        """For a table."""
        return [
            Row("validation, per file", self.val, self.leaked),
            Row("test, per file", self.test_files, self.leaked),
            Row("test, per radiograph", self.test_radiographs, self.leaked),
        ]


def evaluate(model: keras.Model, task: Task, calibration: Calibration) -> tuple[Evaluation, NDArray[np.float64]]:
    """The figures at the threshold that validation radiographs choose, and all probabilities: (n,), NaN in train."""
    data = task.data
    of_record = np.full(data.labels.size, np.nan)
    for records in (data.records_in(split) for split in data.names if split != "train"):
        of_record[records] = _probabilities(model, task, records)
    val, test = data.records_in("val"), data.records_in("test")
    points = _operating_points(task, of_record)
    threshold = points[0].threshold
    radiographs = per_group(data.labels[test], of_record[test], data.groups[test])
    evaluation = Evaluation(
        leaked=data.leaks,
        prior_shift=calibration.prior_shift,
        temperature=calibration.temperature,
        operating_point=points[0],
        operating_points=points,
        val=measure(data.labels[val], of_record[val], threshold, data.patients[val]),
        test_files=measure(data.labels[test], of_record[test], threshold, data.patients[test]),
        test_radiographs=measure(*radiographs, threshold, first_of_each(data.groups[test], data.patients[test])),
        coverage=_coverage(task, of_record, threshold),
    )
    return evaluation, of_record


def _operating_points(task: Task, of_record: NDArray[np.float64]) -> list[OperatingPoint]:
    data, config, val = task.data, task.config, task.data.records_in("val")
    radiographs = per_group(data.labels[val], of_record[val], data.groups[val])
    point = choose_operating_point(*radiographs, config.sensitivity, config.specificity)
    _logger.info(
        f"threshold {point.threshold:.3f} by {point.rule}: on validation radiographs "
        f"sensitivity {point.sensitivity}, specificity {point.specificity}"
    )
    return offered_points(*radiographs, point)


def _coverage(task: Task, of_record: NDArray[np.float64], threshold: float) -> CoverageFigures | None:
    data, level = task.data, task.config.coverage
    if level is None:
        return None

    def one_a_patient(split: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        records = data.records_in(split)
        records = records[one_of_each(data.patients[records], data.labels[records])]
        return data.labels[records], of_record[records]

    limits = coverage_of(*one_a_patient(COVERAGE), level)
    labels, probabilities = one_a_patient("test")
    is_open, doubt = left_open(limits, probabilities), is_in_doubt(limits, probabilities, threshold)
    rows = []
    for label in (0, 1):
        of_class = labels == label
        count = int(of_class.sum())
        covered, abstained = (int(hits[of_class].sum()) for hits in (is_open[:, label], doubt))
        rows.append(ClassCoverage(label, count, wilson(covered, count), wilson(abstained, count)))
        _logger.info(f"coverage {level:g} of {data.inventory.labels[label]}: on test {rows[-1].covered}")
    return CoverageFigures(limits, rows)


def calibrate(model: keras.Model, task: Task) -> Calibration:
    """What was done to the network's logits, in place, so that probabilities mean what they say."""
    from train.fit.temperature import choose_temperature, divide_logits, log_odds, shift_logits

    data, val = task.data, task.data.records_in("val")
    shift = log_odds(data.pictures_in("train")[1])
    shift_logits(model, shift)
    temperature = choose_temperature(_probabilities(model, task, val), data.labels[val], data.groups[val])
    divide_logits(model, temperature)
    _logger.info(f"calibrated: frequency of fractures {shift:+.2f}, temperature {temperature:.2f}")
    return Calibration(shift, temperature)


def _probabilities(model: keras.Model, task: Task, records: NDArray[np.int64]) -> NDArray[np.float32]:
    """(k,) of k files; each different picture is judged once."""
    rows, inverse = np.unique(task.data.row_of_record[records], return_inverse=True)
    return task.predict(model, rows)[inverse]
