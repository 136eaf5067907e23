"""What edge-train left behind, read back: the network, its spec, its split of the images and its calibration images.

A network made elsewhere comes as a model file with a spec or options; it has no split and no calibration of its own.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError, ImageError, ModelError
from edge_runtime.hashing import sha256_of
from edge_runtime.images import read_grey
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from export.inputs.foreign.archive import input_side, is_saved_model
from train.audit.levels import COVERAGE

MODEL = "model.keras"
SPEC = "spec.json"
RUN = "run.json"
SPLIT = "split.csv"
CALIBRATION = "calibration"
DEMO_DATA = "data"  # where `edge-train --demo` writes its images, inside the run

_SPLIT_COLUMNS = ("path", "sha256", "label", "group", "split")


@dataclass(frozen=True)
class LabelledImage:
    """One image of a split."""

    path: str  # relative to the data root
    sha256: str  # of the file, hexadecimal
    label: int  # 1 positive, 0 negative
    group: int  # its independent radiograph: files that show the same one have the same number
    patient: int  # whose it is, as far as told; else a number of the radiograph's own


@dataclass(frozen=True)
class FloatNetwork:
    """A trained network on disk, and what is known of it."""

    model: Path  # `.keras` file
    spec: ModelSpec  # without tensors
    leaked: bool = False  # its test split shares radiographs with its training images
    data_root: Path | None = None  # folder of the radiographs; None for a network made elsewhere
    calibration: Path | None = None  # folder of its calibration images
    train: tuple[LabelledImage, ...] = ()  # the splits; empty for a network made elsewhere
    val: tuple[LabelledImage, ...] = ()  # chose the best epoch; may be empty
    test: tuple[LabelledImage, ...] = ()  # chose nothing
    aside: tuple[LabelledImage, ...] = ()  # of a run with a coverage: for its limits, and nothing else
    positive: int | None = None  # unit of a network made elsewhere that is the positive class; None: the last of two
    classes: int = 2  # that a user named of a network made elsewhere


@dataclass(frozen=True)
class Classes:
    """What a user says of a network made elsewhere, in place of a spec."""

    labels: tuple[str, ...] = ()  # class names in the network's own order
    positive: str | None = None  # one of them; None: the last of two
    threshold: float | None = None  # None: 0.5
    aspect: str | None = None  # None: `stretch`
    size: int | None = None  # side of its square image, pixels; None: its input says it

    def spec(self, name: str, side: int) -> ModelSpec:
        """The spec that these make.

        Raises:
            DataError: the labels are missing, or the positive one of many is.
        """
        if len(self.labels) < 2:
            raise DataError(
                "which classes? --labels NEGATIVE,POSITIVE in the order in which the network learnt them (Keras sorts "
                "folder names), such as --labels normal,fractured; or a spec: --spec SPEC.json"
            )
        if len(self.labels) > 2 and self.positive is None:
            raise DataError(f"{len(self.labels)} labels; which one is positive? --positive {self.labels[-1]}")
        positive = self.labels[-1] if self.positive is None else self.positive
        others = [label for label in self.labels if label != positive]
        labels = (others[0] if len(others) == 1 else f"not {positive}", positive)
        threshold = 0.5 if self.threshold is None else self.threshold
        return ModelSpec(name, side, self.aspect or "stretch", "bilinear", labels, threshold, "radiograph")


def open_network(source: Path, spec: Path | None, data: Path | None, classes: Classes | None = None) -> FloatNetwork:
    """The network in a run folder, a `.keras` or `.h5` file, or a SavedModel.

    Args:
        source: of it.
        spec: spec of a model file; None for a run, or where `classes` say what it would.
        data: folder of the radiographs where they are not where they were in training.
        classes: what a user said of a network made elsewhere.

    Raises:
        ModelError: the network or its spec is missing or damaged.
        DataError: the run's list of images is.
    """
    if source.is_dir() and not is_saved_model(source):
        if spec is not None:
            raise DataError(f"--spec {spec}: a run folder has its own {SPEC}; --spec is for a .keras file")
        network = _read_run(source)
        return network if data is None else replace(network, data_root=data)
    if data is not None:
        raise DataError(f"--data {data}: needs a run folder, whose {SPLIT} says which images are for testing")
    return _read_elsewhere(source, spec, classes or Classes())


def read_images(network: FloatNetwork, images: Sequence[LabelledImage]) -> NDArray[np.uint8]:
    """uint8 (N, S, S), images of a run's split, preprocessed as the device does it.

    Args:
        network: of the run.
        images: of its `train`, `val` or `test`.

    Raises:
        DataError: an image is missing, unreadable or not the one that the network was split with.
    """
    root, spec = network.data_root, network.spec
    if root is None or not root.is_dir():
        raise DataError(f"{root}: the folder of the run's radiographs is not there; say where it is with --data DIR")
    images_u8 = np.empty((len(images), spec.size, spec.size), np.uint8)
    for row, image in enumerate(images):
        path = root / image.path
        if not path.is_file():
            raise DataError(f"{path}: an image of the run is not there; say where the data are with --data DIR")
        if sha256_of(path) != image.sha256:
            raise DataError(f"{path}: not the file that {SPLIT} names (its SHA-256 differs); train again or restore it")
        try:
            images_u8[row] = preprocess(read_grey(path, least_side=spec.size), spec)
        except ImageError as error:
            raise DataError(f"an image of the run cannot be read: {error}") from error
    return images_u8


def side_of(source: Path, told: int | None) -> int:
    """The side of the square image that a network made elsewhere takes, pixels.

    Args:
        source: model file or SavedModel.
        told: by its user; None: nothing.

    Raises:
        ModelError: its input is no square image, or one of another size than was told.
        DataError: it takes images of any size, and nobody told which.
    """
    side = input_side(source)
    if side is None and told is None:
        raise DataError(f"{source}: takes images of any size; say which it learnt from, in pixels: --size 224")
    if side is not None and told not in (None, side):
        raise ModelError(f"{source}: its input is {side} x {side}, and --size says {told}; leave it out")
    return side or int(told or 0)


def _read_elsewhere(source: Path, path: Path | None, classes: Classes) -> FloatNetwork:
    """A network made elsewhere, with the spec that was given or that the options make."""
    names: tuple[str, ...]
    if path is not None:
        if classes != Classes(positive=classes.positive):
            raise DataError(f"--spec {path}: says labels, size, threshold and aspect itself; leave those options out")
        spec = _read_spec(path)
        if spec.coverage is not None:
            raise DataError(f"{path}: field coverage: its limits are those of another file; only a run can have one")
        side = input_side(source)
        if side not in (None, spec.size):
            raise ModelError(f"{path}: field size is {spec.size}; {side} was expected, as the network's input is")
        names = spec.labels
    else:
        spec, names = classes.spec(source.stem, side_of(source, classes.size)), classes.labels
    return FloatNetwork(source, spec, positive=_place(classes.positive, names), classes=len(names))


def _place(positive: str | None, names: tuple[str, ...]) -> int | None:
    if positive is None:
        return None
    if positive not in names:
        raise DataError(f"--positive {positive}: no class of that name; the labels are {', '.join(names)}")
    return names.index(positive)


def _read_run(folder: Path) -> FloatNetwork:
    facts = _read_json(folder / RUN)
    if not (folder / MODEL).is_file():
        raise ModelError(f"{folder / MODEL}: missing; was training finished? edge-train --resume continues it")
    root = Path(str(facts.get("data_root", "")))
    if facts.get("demo") and not root.is_dir():
        root = folder / DEMO_DATA
    splits = _read_split(folder / SPLIT)
    return FloatNetwork(
        model=folder / MODEL,
        spec=_read_spec(folder / SPEC),
        leaked=bool(facts.get("leaked", False)),
        data_root=root,
        calibration=folder / CALIBRATION,
        train=splits.get("train", ()),
        val=splits.get("val", ()),
        test=splits["test"],
        aside=splits.get(COVERAGE, ()),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent}: no {path.name} inside; a run folder of edge-train was expected") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error})") from error
    if not isinstance(facts, dict):
        raise ModelError(f"{path}: a JSON object was expected, not {type(facts).__name__}")
    return facts


def _read_spec(path: Path) -> ModelSpec:
    try:
        return ModelSpec.from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: no such file; the spec says how images are prepared, and is never guessed"
        ) from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_split(path: Path) -> dict[str, tuple[LabelledImage, ...]]:
    """The images of each split, in the order of the file; `test` is among them."""
    splits: dict[str, tuple[LabelledImage, ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            missing = sorted(set(_SPLIT_COLUMNS) - set(reader.fieldnames or ()))
            if missing:
                raise DataError(f"{path}: columns {missing} are missing")
            rows = list(reader)
        for name in dict.fromkeys(row["split"] for row in rows):
            splits[name] = tuple(_labelled(row) for row in rows if row["split"] == name)
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing; it says which images are for testing") from error
    except (csv.Error, ValueError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error})") from error
    if not splits.get("test"):
        raise DataError(f"{path}: names no test image; nothing could be measured")
    return splits


def _labelled(row: dict[str, str]) -> LabelledImage:
    # Runs of earlier versions do not tell patients.
    patient = row.get("patient") or row["group"]
    return LabelledImage(row["path"], row["sha256"], int(row["label"]), int(row["group"]), int(patient))
