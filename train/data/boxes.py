"""Where the fractures are: boxes that a data set has beside its images, and the squares that a network sees them in.

Two ways are read. `index.csv` in the data set's folder: a column `path`, relative to it, and a column of boxes,
`cx cy w h` relative to the image, `|` between boxes; empty where there is none. And text files as YOLO has them, one
beside each image under its name with `.txt`, or in a folder `labels` beside it or beside its folder: a line a box,
`class cx cy w h`. A text that does not begin with a number is about something else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError, StorageError
from edge_runtime.preprocess import placed_in_square
from train.audit import Inventory
from train.audit.inventory import ImageRecord

INDEX = "index.csv"
BOX_COLUMNS = ("boxes_cxcywh", "boxes")
BETWEEN = "|"

_NUMBERS = 4  # of a box: centre x, centre y, width, height
_OUTSIDE = 1e-3  # how far a box may reach beyond its image, as a fraction of it: annotations are rounded


@dataclass(frozen=True)
class Box:
    """A rectangle around a fracture, as fractions of the image's width and height."""

    centre_x: float  # from the left
    centre_y: float  # from the top
    width: float
    height: float


def read_boxes(inventory: Inventory) -> dict[str, tuple[Box, ...]]:
    """The boxes of each image that a data set tells of, by path: of some none.

    Raises:
        DataError: an annotation is no box.
        StorageError: a file of annotations cannot be read.
    """
    return _of_text_files(inventory) | _of_index(inventory)


def in_square(boxes: Iterable[Box], record: ImageRecord, size: int, aspect: str) -> NDArray[np.float32]:
    """(n, 4): left, top, right and bottom of boxes in the square that the network sees, pixels.

    Args:
        boxes: of the image.
        record: of the image, for its width and height.
        size: side of the square, pixels.
        aspect: as in the spec.
    """
    left, top, width, height = placed_in_square(record.width, record.height, size, aspect)
    corners = [
        (
            left + (box.centre_x - box.width / 2) * width,
            top + (box.centre_y - box.height / 2) * height,
            left + (box.centre_x + box.width / 2) * width,
            top + (box.centre_y + box.height / 2) * height,
        )
        for box in boxes
    ]
    return np.array(corners, np.float32).reshape(-1, _NUMBERS)


def painted(boxes: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.uint8]:
    """(b, S, S): 255 where a box lies, 0 elsewhere; every box covers at least a pixel.

    Args:
        boxes: of each of b images, as `in_square` gives them.
        size: S, pixels.
    """
    masks = np.zeros((len(boxes), size, size), np.uint8)
    for mask, corners in zip(masks, boxes, strict=True):
        for left, top, right, bottom in corners.tolist():
            mask[max(0, int(top)) : max(1, int(np.ceil(bottom))), max(0, int(left)) : max(1, int(np.ceil(right)))] = 255
    return masks


def _of_index(inventory: Inventory) -> dict[str, tuple[Box, ...]]:
    path = inventory.root / INDEX
    if not path.is_file():
        return {}
    known = {record.path for record in inventory.records}
    with _opened(path) as stream:
        rows = csv.DictReader(stream)
        column = next((name for name in BOX_COLUMNS if name in (rows.fieldnames or ())), None)
        if column is None or "path" not in (rows.fieldnames or ()):
            return {}  # a table about something else
        return {
            row["path"]: tuple(
                _box(text.split(), f"{path}, line {number}")
                for text in (row[column] or "").split(BETWEEN)
                if text.strip()
            )
            for number, row in enumerate(rows, 2)
            if row["path"] in known
        }


def _of_text_files(inventory: Inventory) -> dict[str, tuple[Box, ...]]:
    found: dict[str, tuple[Box, ...]] = {}
    for record in inventory.records:
        for path in _text_files_of(inventory.root / record.path):
            if path.is_file() and (boxes := _read_text_file(path)) is not None:
                found[record.path] = boxes
                break
    return found


def _text_files_of(image: Path) -> Iterable[Path]:
    """Where the annotations of an image may stand: beside it, and in `labels` beside or in place of its folder."""
    name = f"{image.stem}.txt"
    yield image.with_name(name)
    yield image.parent / "labels" / name
    yield image.parent.parent / "labels" / name


def _read_text_file(path: Path) -> tuple[Box, ...] | None:
    """The boxes of a file, of an empty one none; None where it is no list of boxes."""
    with _opened(path) as stream:
        lines = [(number, line.split()) for number, line in enumerate(stream, 1) if line.strip()]
    if lines and not lines[0][1][0].isdecimal():
        return None
    return tuple(_box(words[1:], f"{path}, line {number}") for number, words in lines)


def _box(words: Sequence[str], where: str) -> Box:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"{where}: {error}; a box is four numbers, cx cy w h, relative to the image") from error
    inside = all(-_OUTSIDE <= number <= 1.0 + _OUTSIDE for number in numbers)
    if len(numbers) != _NUMBERS or not inside or min(numbers[2:]) <= 0:
        raise DataError(f"{where}: a box is four numbers from 0 to 1, cx cy w h, relative to the image, not {words}")
    return Box(*numbers)


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error


def boxes_of_rows(
    inventory: Inventory, row_of_record: NDArray[np.int64], size: int, aspect: str
) -> Mapping[int, NDArray[np.float32]]:
    """Boxes in the square, as `in_square` gives them, by the row of the picture; no row where nothing is told."""
    told = read_boxes(inventory)
    return {
        int(row): in_square(told[record.path], record, size, aspect)
        for record, row in zip(inventory.records, row_of_record, strict=True)
        if record.path in told
    }
