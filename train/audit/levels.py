"""On which level of a data set's folders the split stands, and on which the class: data sets come wrapped.

An archive unpacks into a folder of its own, `train` holds another `train`, parts of the body stand above the classes,
and MURA puts the label into the name of the study (`train/XR_HAND/patient00001/study1_positive/image1.png`). A level is
known by what all its folders are called; what is above it says nothing about a label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from train.audit.classes import is_class_word, normalise

SPLITS = ("train", "val", "test")
COVERAGE = "coverage"  # a split that only edge-train makes: radiographs used for the limits of abstention alone
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_MOST = 0.9  # of the files lie in a class folder; a few may lie about elsewhere
_PAPERS = (".txt", ".json", ".xml", ".yaml", ".yml", ".md", ".pdf", ".ini")  # beside images, as annotations are
_STUDY = re.compile(r"study\d+_(positive|negative)", re.IGNORECASE)  # MURA
_PATIENT = re.compile(r"patient\d+", re.IGNORECASE)  # MURA


@dataclass(frozen=True)
class Levels:
    """Numbers of folder levels below the root; 0 is the top."""

    split: int | None  # None: there are class folders alone
    class_: int  # of the class folders


def find_levels(paths: Sequence[str]) -> Levels:
    """The levels of a data set.

    Args:
        paths: of its files, relative to the root.
    """
    folders = [parts for path in paths if (parts := path.split("/")[:-1]) and not path.lower().endswith(_PAPERS)]
    deepest = max(map(len, folders), default=0)
    split = next((level for level in range(deepest) if _is_split_level(folders, level)), None)
    first_class = next((level for level in range(deepest) if _is_class_level(folders, level)), None)
    if split is not None and (first_class is None or split < first_class):
        inside = [parts for parts in folders if len(parts) > split and split_of(parts[split])]
        return Levels(split, _class_level(inside, split + 1, deepest))
    return Levels(None, _class_level(folders, 0, deepest))


def _class_level(folders: list[list[str]], start: int, deepest: int) -> int:
    """The first level of known class names; where none is, the first that tells files apart and repeats no split."""
    for level in range(start, deepest):
        if _is_class_level(folders, level):
            return level
    level = start
    while level + 1 < deepest and _says_nothing(folders, level):
        level += 1
    return level


def _says_nothing(folders: list[list[str]], level: int) -> bool:
    """Whether a level is one wrapper around everything, or the splits once more."""
    names = {parts[level] for parts in folders if len(parts) > level}
    is_above_all = all(len(parts) > level + 1 for parts in folders)
    return is_above_all and (len(names) == 1 or all(map(split_of, names)))


def _is_split_level(folders: list[list[str]], level: int) -> bool:
    """Whether a split stands on a level: any at the top, where others may stand beside it; else nothing but splits."""
    names = [parts[level] for parts in folders if len(parts) > level]
    return any(map(split_of, names)) if level == 0 else bool(names) and all(map(split_of, names))


def _is_class_level(folders: list[list[str]], level: int) -> bool:
    names = [parts[level] for parts in folders if len(parts) > level]
    return len(names) > _MOST * len(folders) and all(is_class_word(class_of(name)) for name in names)


def split_of(folder: str) -> str | None:
    """The split that a folder's name stands for, one of SPLITS."""
    return _SPLIT_NAMES.get(normalise(folder))


def class_of(folder: str) -> str:
    """The class that a folder's name tells: of MURA's studies the label, else the name."""
    study = _STUDY.fullmatch(folder)
    return study[1].lower() if study else folder


def patient_of(folders: Sequence[str]) -> str | None:
    """The patient that MURA's folders name; None where they are laid out otherwise."""
    if not any(map(_STUDY.fullmatch, folders)):
        return None
    return next((folder for folder in folders if _PATIENT.fullmatch(folder)), None)


def advice(paths: Sequence[str]) -> str:
    """What to say beside an error about class folders: which layout this is, or which folders hold class folders."""
    folders = {tuple(path.split("/")[:-1]) for path in paths}
    names = {normalise(name) for parts in folders for name in parts}
    if "images" in names and not any(map(is_class_word, names)):
        return (
            "; this is laid out for boxes (YOLO: images, labels), without classes: sort the images into class folders"
        )
    depths = ((parts, depth) for parts in folders for depth in range(1, len(parts)) if is_class_word(parts[depth]))
    above = sorted({"/".join(parts[:depth]) for parts, depth in depths})
    return f"; class folders stand deeper, in {', '.join(above[:3])}: give one of these" if above else ""
