"""Calibration images: the grey images from which a converter learns the ranges of activations.

They decide how good an int8 file becomes, so nothing is guessed here: every image is checked against the manifest
that it came with, and a folder that cannot serve is refused, never replaced. They are kept as uint8 and turned into
float one at a time: 1,000 images of 224 x 224 take 50 MB.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import DataError, ImageError
from edge_runtime.hashing import sha256_of
from edge_runtime.images import find_images, read_grey
from edge_runtime.preprocess import preprocess
from edge_runtime.quantization import grey_to_float
from edge_runtime.spec import ModelSpec
from train.audit.colour import is_coloured
from train.audit.contents import is_blank

MANIFEST = "manifest.csv"
FEWEST_IMAGES = 10  # with fewer, single images set the ranges
MOST_COLOURED = 0.1  # share of images: a scanner leaves a tint now and then, a folder of photographs is full of colour
LEAST_SIDE = 0.5  # of the network's input: a smaller image is a thumbnail, whose detail nothing brings back
CALIBRATION = "calibration"  # kind of images, in messages
_MOST_TOLD = 3  # reasons in the one line of an error
_ADVICE = "calibration_data/README.md says how to make such a folder"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationSet:
    """Calibration images, in the order of their paths."""

    folder: Path  # where they were read
    images_u8: NDArray[np.uint8]  # (N, S, S), grey 0 to 255
    labels: tuple[int | None, ...]  # 1 positive, 0 negative, None unknown
    sha256: tuple[str, ...]  # of each file, hexadecimal
    source_sha256: tuple[str, ...]  # of the radiograph that each was made from; of the file itself where not recorded
    phantoms: bool  # the manifest says that they were drawn by train.phantom
    paths: tuple[Path, ...] = ()  # of the files

    def __len__(self) -> int:
        return len(self.images_u8)

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """float32 (1, S, S, 1), grey / 255, one image at a time, together spanning exactly 0 to 1."""
        for index, image_u8 in enumerate(self.images_u8):
            if index == 0:
                # Two corner pixels at the ends of the range: converters that take the smallest and largest value then
                # give the input scale 1/255 and zero point -128, and a device quantises by subtracting 128.
                image_u8 = image_u8.copy()
                image_u8[0, 0], image_u8[0, -1] = 0, 255
            yield grey_to_float(image_u8)[np.newaxis, :, :, np.newaxis]

    def spread(self, count: int) -> NDArray[np.uint8]:
        """(n, S, S) with n at most `count`: images evenly apart in the order of their paths, so that classes mix."""
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)
        return np.asarray(self.images_u8[rows])

    def without(self, rows: Iterable[int]) -> CalibrationSet:
        """This set without the images at these indices."""
        left_out = set(rows)
        keep = [row for row in range(len(self)) if row not in left_out]
        return replace(
            self,
            images_u8=self.images_u8[keep],
            labels=tuple(self.labels[row] for row in keep),
            sha256=tuple(self.sha256[row] for row in keep),
            source_sha256=tuple(self.source_sha256[row] for row in keep),
            paths=tuple(self.paths[row] for row in keep) if self.paths else (),
        )


class _Unfit(Exception):
    """An image that can be read and shows too little."""


@dataclass(frozen=True)
class _Entry:
    """One image before it is read."""

    path: Path  # of the file
    sha256: str  # of the file, hexadecimal
    source_sha256: str  # as in CalibrationSet
    label: int | None  # as in CalibrationSet
    prepared: bool = False  # edge-train saved it as its network takes it


def load_calibration(folder: Path, spec: ModelSpec) -> CalibrationSet:
    """The calibration images of a folder, preprocessed as the device does it.

    A folder with a `manifest.csv` (columns `path`, `sha256`, perhaps `label`, `source_sha256`, `seed`) is held to it;
    of any other folder all images count, labelled where they lie in folders named as the spec's classes.

    Raises:
        DataError: nothing can be calibrated with it, or it was altered.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of calibration images; give --calibration DIR ({_ADVICE})")
    calibration = load_folder(folder, spec, fewest=FEWEST_IMAGES)
    _refuse_unfit(calibration)
    return calibration


def load_folder(folder: Path, spec: ModelSpec, fewest: int, kind: str = CALIBRATION) -> CalibrationSet:
    """The images of a folder as `load_calibration` reads them, whatever they show.

    Those that cannot be read, or are too small, are left out, and every one of them is said.

    Args:
        folder: that exists.
        spec: of the network that is to see them.
        fewest: images that there have to be.
        kind: what they are for, in messages.

    Raises:
        DataError: images are too few, in colour, or not those of the manifest.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    has_manifest = (folder / MANIFEST).is_file()
    entries, phantoms = _manifest_entries(folder) if has_manifest else (_folder_entries(folder, spec), False)
    if len(entries) < fewest:
        advice = f" ({_ADVICE})" if kind == CALIBRATION else ""
        raise DataError(f"{folder}: {len(entries)} {kind} images; at least {fewest} are needed{advice}")
    if has_manifest:
        _require_unaltered(entries)
    entries, images_u8 = _readable(folder, entries, spec, fewest, kind)
    _refuse_photographs(folder, [entry.path for entry in entries])
    return CalibrationSet(
        folder,
        np.stack(images_u8),
        labels=tuple(entry.label for entry in entries),
        sha256=tuple(entry.sha256 for entry in entries),
        source_sha256=tuple(entry.source_sha256 for entry in entries),
        phantoms=phantoms,
        paths=tuple(entry.path for entry in entries),
    )


def pixels_sha256(image_u8: NDArray[np.uint8]) -> str:
    """Hexadecimal SHA-256 of an image's pixels: the same for the same picture in another file format."""
    return hashlib.sha256(np.ascontiguousarray(image_u8).tobytes()).hexdigest()


def rows_shared_with(
    calibration: CalibrationSet, sha256: Iterable[str], images_u8: Iterable[NDArray[np.uint8]]
) -> list[int]:
    """Indices of calibration images that are also among the given images, by file or by pixels.

    Args:
        calibration: images to look for.
        sha256: of the other images' files, hexadecimal.
        images_u8: the other images, each uint8 (S, S).
    """
    files, pixels = set(sha256), {pixels_sha256(image) for image in images_u8}
    return [
        row
        for row in range(len(calibration))
        if {calibration.sha256[row], calibration.source_sha256[row]} & files
        or pixels_sha256(calibration.images_u8[row]) in pixels
    ]


def _manifest_entries(folder: Path) -> tuple[list[_Entry], bool]:
    """(entries in the order of their paths, whether they are phantoms)."""
    manifest = folder / MANIFEST
    try:
        with manifest.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            columns = set(reader.fieldnames or ())
            if not {"path", "sha256"} <= columns:
                raise DataError(f"{manifest}: columns `path` and `sha256` were expected, not {sorted(columns)}")
            rows = sorted(reader, key=lambda row: str(row["path"]))
        entries = [
            _Entry(
                folder / row["path"],
                row["sha256"],
                row.get("source_sha256") or row["sha256"],
                _label(row.get("label")),
                prepared="source_sha256" in columns,
            )
            for row in rows
        ]
    except (csv.Error, ValueError, TypeError) as error:
        raise DataError(f"{manifest}: is damaged ({error}); make the folder again") from error
    return entries, "seed" in columns


def _folder_entries(folder: Path, spec: ModelSpec) -> list[_Entry]:
    entries = []
    for path in sorted(find_images([folder])):
        digest = sha256_of(path)
        entries.append(_Entry(path, digest, digest, _label_of_folder(path.parent.name, spec)))
    return entries


def _label_of_folder(name: str, spec: ModelSpec) -> int | None:
    """The class that a folder is named after, either written with spaces, `_` or `-`; None for any other name."""
    return next((label for label, known in enumerate(spec.labels) if _plain(known) == _plain(name)), None)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ")


def _label(text: str | None) -> int | None:
    return int(text) if text else None


def _require_unaltered(entries: Iterable[_Entry]) -> None:
    for entry in entries:
        if not entry.path.is_file():
            raise DataError(f"{entry.path}: named in {MANIFEST} and missing; make the folder again")
        if sha256_of(entry.path) != entry.sha256:
            raise DataError(
                f"{entry.path}: its SHA-256 is not the manifest's: the file was altered; make the folder again"
            )


def _readable(
    folder: Path, entries: Sequence[_Entry], spec: ModelSpec, fewest: int, kind: str
) -> tuple[list[_Entry], list[NDArray[np.uint8]]]:
    """The entries that can be read, and their images; of all others it is said at once why."""
    kept, images_u8, left_out = [], [], []
    for entry in entries:
        try:
            images_u8.append(_read(entry, spec))
        except (ImageError, _Unfit) as error:
            left_out.append(str(error))
        else:
            kept.append(entry)
    if len(kept) < fewest:
        raise DataError(
            f"{folder}: {len(kept)} of {len(entries)} {kind} images can be used, at least {fewest} are needed: "
            f"{_some_of(left_out)}"
        )
    for why in left_out:
        log.warning(f"left out, a{'n' if kind[0] in 'aeiou' else ''} {kind} image: {why}")
    return kept, images_u8


def _some_of(reasons: Sequence[str]) -> str:
    more = len(reasons) - _MOST_TOLD
    return "; ".join(reasons[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _read(entry: _Entry, spec: ModelSpec) -> NDArray[np.uint8]:
    """An image, (S, S).

    Raises:
        ImageError: it cannot be read.
        _Unfit: it shows too little.
        DataError: the folder was made for another network.
    """
    grey_u8 = read_grey(entry.path, least_side=spec.size)
    if entry.prepared and grey_u8.shape != (spec.size, spec.size):
        raise DataError(
            f"{entry.path}: {grey_u8.shape[1]} x {grey_u8.shape[0]} pixels, made for a network of that size; "
            f"{spec.size} x {spec.size} were expected: take the calibration images of this network's own run"
        )
    if max(grey_u8.shape) < spec.size * LEAST_SIDE:
        raise _Unfit(
            f"{entry.path}: {grey_u8.shape[1]} x {grey_u8.shape[0]} pixels, too small for a network of {spec.size} x "
            f"{spec.size}; give images as they arrive at the device"
        )
    return preprocess(grey_u8, spec)


def _refuse_photographs(folder: Path, paths: list[Path]) -> None:
    """Refuses images in colour. Grey images of another domain cannot be told from radiographs by their pixels."""
    coloured = [path for path in paths if is_coloured(path)]
    if len(coloured) > MOST_COLOURED * len(paths):
        raise DataError(
            f"{folder}: {len(coloured)} of {len(paths)} images are in colour ({coloured[0].name}, for one); "
            "radiographs are grey: give images of the kind that the network learnt from"
        )


def _refuse_unfit(calibration: CalibrationSet) -> None:
    blank = sum(is_blank(image_u8) for image_u8 in calibration.images_u8)
    if blank:
        raise DataError(
            f"{calibration.folder}: {blank} of {len(calibration)} images are blank, all of nearly one grey value; "
            "remove them"
        )
    known = {label for label in calibration.labels if label is not None}
    if len(known) == 1 and None not in calibration.labels:
        raise DataError(f"{calibration.folder}: all images have label {known.pop()}; images of both classes are needed")
