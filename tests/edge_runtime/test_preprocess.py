"""The one resize: its geometry, its arithmetic, and that there is no second one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.preprocess import RESIZING_VERSION, preprocess
from edge_runtime.spec import RESAMPLINGS, ModelSpec

SIDE = 16
SPEC = ModelSpec("cnn", SIDE, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "radiograph")


def white(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 255, np.uint8)


@pytest.mark.parametrize("aspect", ["pad", "stretch"])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_an_image_of_the_right_size_is_left_alone(radiograph_u8, aspect, resampling):
    square = radiograph_u8[:SIDE, :SIDE]
    np.testing.assert_array_equal(preprocess(square, replace(SPEC, aspect=aspect, resampling=resampling)), square)


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("size", [(40, 40), (7, 5), (300, 20), (1, 1), (1, 500), (17, 16)])
def test_the_result_is_a_grey_square(size, resampling):
    for aspect in ("pad", "stretch"):
        result = preprocess(white(*size), replace(SPEC, aspect=aspect, resampling=resampling))
        assert (result.shape, result.dtype) == ((SIDE, SIDE), np.uint8)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((20, 40), slice(4, 12), slice(0, 16)),  # wide
        ((40, 20), slice(0, 16), slice(4, 12)),  # tall
        ((8, 16), slice(4, 12), slice(0, 16)),  # the longer side fits already
        ((2, 4), slice(4, 12), slice(0, 16)),  # enlarged
        ((7, 16), slice(4, 11), slice(0, 16)),  # an odd margin: the larger half below
        ((1, 500), slice(7, 8), slice(0, 16)),  # a line stays visible
        ((500, 1), slice(0, 16), slice(7, 8)),
        ((1, 1), slice(0, 16), slice(0, 16)),
    ],
)
def test_pad_centres_the_image_on_black(size, rows, columns):
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[rows, columns] = 255
    np.testing.assert_array_equal(preprocess(white(*size), SPEC), expected)


@pytest.mark.parametrize("size", [(20, 40), (40, 20), (1, 500)])
def test_stretch_fills_the_square(size):
    np.testing.assert_array_equal(preprocess(white(*size), replace(SPEC, aspect="stretch")), white(SIDE, SIDE))


def test_box_is_the_mean_of_what_a_pixel_covers():
    image = np.random.default_rng(2).integers(0, 64, (32, 32), dtype=np.uint8) * 4
    rows = image.reshape(16, 2, 32).astype(int)
    vertical_last = (rows[:, :, ::2] + rows[:, :, 1::2]) // 2  # exact: multiples of 4
    expected = (vertical_last[:, 0] + vertical_last[:, 1]) // 2
    np.testing.assert_array_equal(preprocess(image, replace(SPEC, resampling="box")), expected)


def test_bilinear_is_antialiased_and_exact():
    # A ramp of 16 columns halved: a triangle two pixels wide on each side, cut off and weighted again at the borders.
    image = np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1))
    expected = np.tile(np.array([11, 40, 72, 104, 136, 168, 200, 229], np.uint8), (8, 1))
    np.testing.assert_array_equal(preprocess(image, replace(SPEC, size=8)), expected)


def test_the_image_itself_is_not_altered(radiograph_u8):
    before = radiograph_u8.copy()
    preprocess(radiograph_u8, SPEC)
    np.testing.assert_array_equal(radiograph_u8, before)


# Resizing and decoding as Pillow, Keras, TensorFlow and OpenCV offer them.
SECOND_WAYS = {
    "edge_runtime/preprocess.py": r"(?<!functools)\.(resize|thumbnail|reduce)\(|\bResizing\("
    r"|ImageOps\.(fit|pad|contain|cover|scale)",
    "edge_runtime/images.py": r"Image\.open\(|Image\.OPEN\[|image_dataset_from|load_img|decode_(jpeg|png|image)|imread",
}


# The audit looks at files for their own sake and prepares none for a network: it resizes the views that it compares and
# the pictures of its page, and opens files for what grey does not tell, their colour.
OF_THE_AUDIT = {
    "edge_runtime/preprocess.py": {
        *("train/audit/colour.py", "train/audit/shortcuts.py"),
        *("train/audit/copies/closer_look.py", "train/audit/copies/views.py"),
        # Colours, and what the radiograph gate looks at: neither is what a network sees.
        *("edge_runtime/images.py", "edge_runtime/dicom/read.py", "edge_runtime/radiograph_gate.py"),
        # Pictures for people: of pages, and the map over a radiograph.
        *("edge_runtime/serving/app.py", "edge_runtime/heatmap.py", "train/pages/pictures.py"),
        "edge_runtime/serving/node/capture.py",  # a picture for people as well
        "export/evaluation/changes.py",  # an image made coarser on purpose, which then goes the way of any other
    },
    "edge_runtime/images.py": {
        "train/audit/colour.py",
        "export/parity/shift.py",  # what it has packed as JPEG itself, in memory
    },
}


@pytest.mark.parametrize("home", sorted(SECOND_WAYS))
def test_there_is_one_decode_and_one_resize(repository, home):
    sources = [
        path
        for room in ("edge_runtime", "train", "export")
        for path in sorted((repository / room).rglob("*.py"))
        if path.relative_to(repository).parts[1] != "build"  # what building a wheel leaves behind: copies
    ]
    names = {path.relative_to(repository).as_posix(): path.read_text(encoding="utf-8") for path in sources}
    users = {name for name, text in names.items() if re.search(SECOND_WAYS[home], text)}
    assert users == {home} | OF_THE_AUDIT[home]


# SHA-256 of what RESIZING_VERSION 1 makes of the image below. Where a change of the code changes it, raise the version:
# caches are kept by it. Pillow resizes in integers, so it is the same on every machine.
RESIZED = {1: "821a321fb4ea8c679f8fb634dee384372b00d44d9b7d77dd640aa8f1c3559d14"}


def test_another_result_of_resizing_asks_for_another_version(radiograph_u8):
    digest = hashlib.sha256()
    for aspect in ("pad", "stretch"):
        for resampling in sorted(RESAMPLINGS):
            square = preprocess(radiograph_u8, replace(SPEC, size=40, aspect=aspect, resampling=resampling))
            digest.update(np.ascontiguousarray(square).tobytes())
    assert digest.hexdigest() == RESIZED[RESIZING_VERSION]
