"""Images are decoded and resized once, as the device does it, and kept as long as that is done the same way."""

import shutil

import numpy as np
import pytest

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from train.audit import take_inventory
from train.audit.cache import cache_folder
from train.data import image_cache
from train.data.image_cache import cache_images

SPEC = ModelSpec("cnn", 32, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "phantom")


@pytest.fixture
def folder(phantoms, tmp_path):
    """A few phantoms, one of them twice."""
    root = tmp_path / "data"
    for label in ("fractured", "not_fractured"):
        (root / label).mkdir(parents=True)
        for path in sorted((phantoms / "train" / label).iterdir())[:3]:
            shutil.copy(path, root / label)
    first = sorted((root / "fractured").iterdir())[0]
    shutil.copy(first, first.with_name("copy.png"))
    return root


def read(root, spec=SPEC):
    told = []
    inventory = take_inventory(root)
    return inventory, cache_images(inventory, spec, lambda done, total: told.append((done, total))), told


def test_each_row_is_what_the_device_would_see(folder):
    inventory, cached, told = read(folder)
    for record, row in zip(inventory.records, cached.row_of_record, strict=True):
        np.testing.assert_array_equal(cached.images_u8[row], preprocess(read_grey(folder / record.path, 32), SPEC))
    assert told[-1] == (6, 6)


def test_identical_pictures_share_a_row(folder):
    inventory, cached, _ = read(folder)
    assert len(inventory.records) == 7 and cached.images_u8.shape == (6, 32, 32)


def test_the_second_time_nothing_is_decoded(folder):
    _, first, _ = read(folder)
    _, second, told = read(folder)
    np.testing.assert_array_equal(first.images_u8, second.images_u8)
    assert told == []


@pytest.mark.parametrize("version", ["DECODING", "RESIZING_VERSION", "LAYOUT_VERSION"])
def test_another_version_of_what_made_them_makes_them_again(folder, monkeypatch, version):
    read(folder)
    monkeypatch.setattr(image_cache, version, "another")
    assert read(folder)[2]


@pytest.mark.parametrize("change", [{"size": 48}, {"aspect": "stretch"}, {"resampling": "box"}])
def test_other_preprocessing_has_images_of_its_own(folder, change):
    read(folder)
    assert read(folder, ModelSpec(**{**vars(SPEC), **change}))[2]


def test_a_file_that_changed_since_the_inventory_leaves_no_half_of_a_cache(folder):
    inventory = take_inventory(folder)
    (folder / inventory.records[0].path).write_bytes(b"no image any more")
    with pytest.raises(ImageError):
        cache_images(inventory, SPEC, lambda done, total: None)
    assert list((cache_folder() / "images").iterdir()) == []
