"""Data sets as they come: wrapped, doubled, below parts of the body, as MURA has them."""

from __future__ import annotations

import pytest

from train.audit.layout import place_files
from train.audit.levels import Levels, advice, find_levels

CLASSES = ("fractured", "not_fractured")
SPLITS = ("train", "val", "test")


def files(*folders: str) -> list[str]:
    return [f"{folder}/{number}.png" for folder in folders for number in range(3)]


LAYOUTS = {
    "class folders": (files(*CLASSES), Levels(None, 0)),
    "splits": (files(*(f"{s}/{c}" for s in SPLITS for c in CLASSES)), Levels(0, 1)),
    "names that nobody knows": (files("A", "B"), Levels(None, 0)),
    "splits of names that nobody knows": (files(*(f"{s}/{c}" for s in SPLITS for c in "AB")), Levels(0, 1)),
    "an unzipped wrapper": (files(*(f"Bone Data/{c}" for c in CLASSES)), Levels(None, 1)),
    "two wrappers": (files(*(f"a/b/{s}/{c}" for s in SPLITS for c in CLASSES)), Levels(2, 3)),
    "a wrapper of unknown names": (files("Data/A", "Data/B"), Levels(None, 1)),
    "train in train": (files(*(f"{s}/{s}/{c}" for s in SPLITS for c in CLASSES)), Levels(0, 2)),
    "train in train, unknown names": (files(*(f"{s}/{s}/{c}" for s in SPLITS for c in "AB")), Levels(0, 2)),
    "parts of the body": (files(*(f"{b}/{c}" for b in ("hand", "leg") for c in CLASSES)), Levels(None, 1)),
    "parts of the body above splits": (
        files(*(f"{b}/{s}/{c}" for b in ("hand", "leg") for s in SPLITS for c in CLASSES)),
        Levels(1, 2),
    ),
    "parts of the body below splits": (
        files(*(f"{s}/{b}/{c}" for b in ("hand", "leg") for s in SPLITS for c in CLASSES)),
        Levels(0, 2),
    ),
    "folders of patients below the classes": (files("fractured/p1", "normal/p2"), Levels(None, 0)),
    "one class alone": (files("fractured/p1", "fractured/p2"), Levels(None, 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_levels_of_split_and_class_are_found(layout):
    paths, levels = layout
    assert find_levels(paths) == levels
    placements, misplaced = place_files(paths)
    assert len(placements) == len(paths) and not misplaced


def test_files_that_lie_about_are_left_out_and_named():
    paths = [*files(*(f"Data/{s}/{c}" for s in SPLITS for c in CLASSES)), "readme.txt", "Data/licence.txt"]
    placements, misplaced = place_files(paths)
    assert len(placements) == 18 and {path for path, _ in misplaced} == {"readme.txt", "Data/licence.txt"}
    assert {placement.class_folder for placement in placements} == set(CLASSES)


def test_mura_tells_label_and_patient_by_its_folders():
    study = "MURA-v1.1/{}/XR_{}/patient{:05}/study1_{}"
    paths = files(
        *(study.format(*one) for one in (("train", "HAND", 1, "positive"), ("valid", "WRIST", 2, "negative")))
    )
    placements, _ = place_files(paths)
    found = {(placement.split, placement.class_folder, placement.patient) for placement in placements}
    assert found == {("train", "positive", "patient00001"), ("val", "negative", "patient00002")}


@pytest.mark.parametrize("layout", ["{0}/images {0}/labels", "images/{0} labels/{0}", "{0}/images"])
def test_boxes_without_classes_are_told_as_what_they_are(layout):
    assert "YOLO" in advice(files(*(folder for split in SPLITS for folder in layout.format(split).split())))


def test_annotations_beside_the_images_say_nothing_about_levels():
    papers = ["Annotations/YOLO/a.txt", "Annotations/COCO JSON/b.json", "Annotations/VOC/c/d.xml"]
    assert find_levels([*files("images/Fractured", "images/Non_fractured"), *papers]) == Levels(None, 1)


def test_where_class_folders_stand_deeper_the_folder_to_give_is_named():
    paths = files("a/hand/fractured", "a/hand/normal", "docs/x/y", "b")
    assert advice(paths) == "; class folders stand deeper, in a/hand: give one of these"
    assert advice(files("A", "B", "C")) == ""
