"""What a trained network is worth: its temperature, and figures per file and per radiograph."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from train.metrics import Figures, first_of_each, measure, per_group
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

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)

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
    for split in ("val", "test"):
        records = data.records_in(split)
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
