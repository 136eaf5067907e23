"""Boxes come from a table or from text files beside the images, and land where the image lands in the square."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from train.audit import take_inventory
from train.data.boxes import Box, boxes_of_rows, in_square, painted, read_boxes

BOX = Box(0.5, 0.25, 0.2, 0.1)


@pytest.fixture
def radiographs(tmp_path):
    """Two fractured and one other, 40 by 20 pixels, white where BOX lies."""
    grey = np.zeros((20, 40), np.uint8)
    grey[4:6, 16:24] = 255
    for name in ("fractured/a.png", "fractured/b.png", "not_fractured/c.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(path)
        grey = grey.copy()
        grey[0, 0] += 1  # no two alike
    return tmp_path / "data"


def test_a_table_beside_the_class_folders_tells_boxes_and_that_there_are_none(radiographs):
    (radiographs / "index.csv").write_text(
        "path,label,boxes_cxcywh\n"
        "fractured/a.png,fractured,0.5 0.25 0.2 0.1|0.1 0.1 0.05 0.05\n"
        "not_fractured/c.png,not_fractured,\n"
        "fractured/gone.png,fractured,0.5 0.5 0.1 0.1\n"
    )
    boxes = read_boxes(take_inventory(radiographs))
    assert boxes == {"fractured/a.png": (BOX, Box(0.1, 0.1, 0.05, 0.05)), "not_fractured/c.png": ()}


@pytest.mark.parametrize("place", ["fractured/a.txt", "fractured/labels/a.txt", "labels/a.txt"])
def test_text_files_of_yolo_tell_boxes(radiographs, place):
    path = radiographs / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("0 0.5 0.25 0.2 0.1\n")
    assert read_boxes(take_inventory(radiographs)) == {"fractured/a.png": (BOX,)}


def test_a_text_about_something_else_is_no_list_of_boxes(radiographs):
    (radiographs / "fractured" / "a.txt").write_text("Distal radius, after a fall.\n")
    assert read_boxes(take_inventory(radiographs)) == {}


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.1", "0 0.5 0.5 0.1 wide", "0 120 80 20 10", "0 0.5 0.5 0 0.1"])
def test_what_is_no_box_is_refused_with_its_place(radiographs, line):
    (radiographs / "fractured" / "a.txt").write_text(f"0 0.5 0.25 0.2 0.1\n{line}\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2"):
        read_boxes(take_inventory(radiographs))


@pytest.mark.parametrize("aspect", ["pad", "stretch"])
def test_a_box_lies_on_what_it_was_drawn_around(radiographs, aspect):
    (record, *_) = take_inventory(radiographs).records
    spec = ModelSpec("cnn", 80, aspect, "box", ("not_fractured", "fractured"), 0.5, "radiograph")
    seen = preprocess(np.asarray(Image.open(Path(radiographs) / record.path)), spec)
    mask = painted([in_square([BOX], record, 80, aspect)], 80)[0]
    np.testing.assert_array_equal(mask == 255, seen > 127)


def test_boxes_of_pictures_are_found_by_their_row(radiographs):
    (radiographs / "fractured" / "b.txt").write_text("0 0.5 0.25 0.2 0.1\n")
    found = boxes_of_rows(take_inventory(radiographs), np.array([2, 0, 1]), 40, "pad")
    assert set(found) == {0}
    np.testing.assert_allclose(found[0], [[16, 14, 24, 16]], atol=1e-4)
