"""A data set ready to train on: no leak unless it is accepted, both classes in every split, copies seen as copies."""

import shutil

import numpy as np
import pytest

from edge_runtime.errors import DataError, GateError
from train.audit.levels import SPLITS as NAMES
from train.data.split_data import is_phantoms, load_split_data
from train.engine import make_spec


def load(root, config):
    return load_split_data(root, config, lambda labels: make_spec(config, labels, "phantom"), lambda *_: None)


@pytest.fixture
def pooled(phantoms, tmp_path):
    """Class folders alone."""
    folder = tmp_path / "pooled"
    for split in NAMES:
        shutil.copytree(phantoms / split, folder, dirs_exist_ok=True)
    return folder


def test_folders_are_the_split_where_that_is_asked_for(phantoms, small_config):
    data = load(phantoms, small_config())
    assert {split: data.records_in(split).size for split in NAMES} == {"train": 48, "val": 24, "test": 24}
    assert is_phantoms(phantoms) and not data.leaks
    for record, split in zip(data.inventory.records, data.splits, strict=True):
        assert record.path.startswith(f"{split}/")


def test_a_leaking_split_is_refused(leaking, small_config):
    with pytest.raises(GateError, match="1 radiograph is shared between splits.*--accept-leak"):
        load(leaking, small_config())


def test_an_accepted_leak_is_known(leaking, small_config):
    data = load(leaking, small_config(accept_leak=True))
    assert data.leaks and data.leak.leaking_groups == 1


def test_copies_are_one_picture(leaking, small_config):
    data = load(leaking, small_config(accept_leak=True))
    assert data.images_u8.shape == (96, 32, 32) and data.labels.size == 97
    copy = next(n for n, record in enumerate(data.inventory.records) if record.path.endswith("copy.png"))
    assert np.count_nonzero(data.row_of_record == data.row_of_record[copy]) == 2
    assert np.count_nonzero(data.groups == data.groups[copy]) == 2


def test_a_split_by_radiograph_shares_no_group(pooled, small_config):
    data = load(pooled, small_config(split="grouped"))
    groups = {split: set(data.groups[data.splits == split].tolist()) for split in NAMES}
    assert all(groups.values())
    assert not groups["train"] & groups["test"] and not groups["train"] & groups["val"]
    assert not groups["val"] & groups["test"]


def test_a_coverage_needs_radiographs_of_its_own(pooled, small_config):
    with pytest.raises(DataError, match="10 radiographs of 'not_fractured' were set aside for it; 60 are needed"):
        load(pooled, small_config(split="grouped", coverage=0.95, coverage_fraction=0.2))
    with pytest.raises(DataError, match="--coverage: needs --split grouped"):
        small_config(split="folders", coverage=0.95)


def test_the_pictures_of_a_split_have_the_labels_of_their_files(phantoms, small_config):
    data = load(phantoms, small_config())
    rows, labels = data.pictures_in("val")
    label_of_row = dict(zip(data.row_of_record.tolist(), data.labels.tolist(), strict=True))
    assert rows.size == 24 and [label_of_row[row] for row in rows.tolist()] == labels.tolist()


def test_a_split_without_one_class_is_a_data_error(phantoms, tmp_path, small_config):
    folder = tmp_path / "one-sided"
    shutil.copytree(phantoms, folder)
    shutil.rmtree(folder / "val" / "fractured")
    with pytest.raises(DataError, match="the val split has no image of class 'fractured'"):
        load(folder, small_config())
