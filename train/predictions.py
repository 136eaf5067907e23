"""`predictions.csv` of a run: every answer that a figure rests on, so that others can count again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.whole_files import whole_file
from train.data.split_data import SplitData

PREDICTIONS = "predictions.csv"
COLUMNS = ("path", "sha256", "group", "label", "split", "probability", "decision")


def write_predictions(folder: Path, data: SplitData, probabilities: NDArray[np.float64], threshold: float) -> None:
    """Writes a row for each file of the test split, in order of path.

    Args:
        folder: of the run.
        data: n files.
        probabilities: (n,) of the trained network; those of other splits are not looked at.
        threshold: a probability at or above it is decided 1, positive, otherwise 0.
    """
    with whole_file(folder / PREDICTIONS) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number in data.records_in("test"):
            record, probability = data.inventory.records[number], float(probabilities[number])
            group, decision = int(data.groups[number]), int(probability >= threshold)
            # repr keeps every digit: the figures can be counted again from the file, exactly.
            writer.writerow([record.path, record.sha256, group, record.label, "test", repr(probability), decision])
