"""Which images judge the files of an export."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from edge_runtime.errors import DataError
from export.inputs.image_sets import gather
from export.inputs.run_reader import open_network
from export.request import AUTO, ExportRequest


@pytest.fixture(scope="module")
def run(make_run):
    return make_run("cnn")


def judging(run, **options):
    request = ExportRequest(run, run / "out", int8=True, **options)
    return gather(request, open_network(run, None, None)).judging


def test_validation_images_judge_too_where_they_choose_no_recipe(run):
    alone, both = judging(run, recipe=AUTO), judging(run, recipe="minmax")
    assert (alone.name, len(alone.images_u8)) == ("test split", 16)
    assert both.name.startswith("test and validation split") and len(both.images_u8) == 24
    assert np.array_equal(both.images_u8[:16], alone.images_u8)
    assert (len(both.labels), len(both.groups), len(set(both.groups))) == (24, 24, 24)


def test_of_a_run_that_leaks_the_test_split_judges_alone(run, make_run):
    leaking = make_run("cnn", leaked=True)
    assert json.loads((leaking / "run.json").read_text())["leaked"]
    assert judging(leaking, recipe="minmax").name == "test split"


def test_images_that_are_given_judge_a_run_unless_it_learnt_from_them(run, tmp_path):
    for index in range(10):  # of the test split
        shutil.copy(run / "data" / f"{index:03d}.png", tmp_path)
    given = judging(run, evaluate=tmp_path)
    assert (given.name, len(given.images_u8), given.labels) == ("evaluation images", 10, None)
    shutil.copy(run / "data" / "030.png", tmp_path)  # of the validation split
    with pytest.raises(DataError, match="1 of 11 evaluation images trained the run or chose among its epochs"):
        judging(run, evaluate=tmp_path)
