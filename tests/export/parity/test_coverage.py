"""Each file abstains by limits of its own answers, to radiographs of the run that were used for nothing else."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.bundle import open_model
from edge_runtime.errors import DataError
from edge_runtime.spec import Coverage
from export.inputs.image_sets import gather
from export.inputs.run_reader import LabelledImage, open_network
from export.parity.coverage import settle_coverage
from export.request import ExportRequest
from train.figures.conformal import coverage_of
from train.phantom import DATASET_JSON, write_dataset

FILES = ("model_int8.tflite", "model_float32.tflite")
ASIDE = 124  # images, half of each class, the last two of one patient with another
UNSETTLED = Coverage(0.95, 0.5, 0.5, (60, 60))


@pytest.fixture
def network(make_run, tmp_path):
    """A run with images set aside: noise, which its network answers in many ways."""
    network = open_network(make_run("cnn"), None, None)
    images = []
    for number in range(ASIDE):
        rng = np.random.default_rng(number)
        image_u8 = rng.normal(rng.uniform(20, 230), rng.uniform(5, 90), (32, 32)).clip(0, 255).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(image_u8).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        images.append(LabelledImage(path.name, digest, number % 2, number, min(number, ASIDE - 4 + number % 2)))
    spec = replace(network.spec, coverage=UNSETTLED)
    return replace(network, spec=spec, data_root=tmp_path, aside=tuple(images))


def test_the_limits_are_of_each_files_own_answers_and_stand_inside_it(network, make_bundle, tmp_path):
    specs = {}
    for name in FILES:
        shutil.copy(make_bundle("cnn") / name, tmp_path / name)
        specs[tmp_path / name] = replace(open_model(tmp_path / name).spec, coverage=UNSETTLED)
    settled = settle_coverage(specs, network)
    for path, spec in settled.items():
        opened = open_model(path)
        assert opened.spec == spec and spec.coverage is not None and spec.coverage.radiographs == (61, 61)
        judge = Predictor(opened)
        of_patient = {image.patient: image for image in network.aside[:-4]}
        answers = np.array([judge.predict(tmp_path / image.path).probability for image in of_patient.values()])
        labels = np.array([image.label for image in of_patient.values()])
        others = {judge.predict(tmp_path / image.path).probability for image in network.aside[-4:]}
        near = [coverage_of(np.r_[labels, 0, 1], np.r_[answers, one, two], 0.95) for one in others for two in others]
        assert spec.coverage in [replace(one, radiographs=(61, 61)) for one in near]
    assert settled[tmp_path / FILES[0]].coverage != settled[tmp_path / FILES[1]].coverage


def test_too_few_radiographs_are_refused(network):
    with pytest.raises(DataError, match="59 radiographs of 'not fractured' were set aside"):
        settle_coverage({}, replace(network, aside=network.aside[:118]))
    with pytest.raises(DataError, match="0 radiographs"):
        settle_coverage({}, replace(network, aside=()))


def test_images_that_were_set_aside_calibrate_nothing(network, tmp_path):
    request = ExportRequest(network.model.parent, tmp_path / "out", int8=True)
    taken = replace(network.aside[0], sha256=network.train[0].sha256)
    with pytest.raises(DataError, match="1 of 12 calibration images were set aside for the coverage"):
        gather(request, replace(network, aside=(taken,)))


def test_a_spec_with_a_coverage_is_no_spec_of_another_file(network, tmp_path):
    (tmp_path / "spec.json").write_text(network.spec.to_json())
    with pytest.raises(DataError, match="only a run can have one"):
        open_network(network.model, tmp_path / "spec.json", None)


@pytest.mark.slow
def test_from_training_to_an_answer(tmp_path, require_schema):
    """edge-train --coverage, edge-export, edge-evaluate and edge-infer, as a user calls them."""
    drawn = write_dataset(tmp_path / "drawn", {"train": 280, "val": 60, "test": 60}, seed=3, workers=1)
    for split in ("train", "val", "test"):
        shutil.copytree(drawn / split, tmp_path / "data", dirs_exist_ok=True)
    shutil.copy(drawn / DATASET_JSON, tmp_path / "data")

    def run(module, *arguments):
        done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    small = ["--image-size", 32, "--epochs", 2]
    aside = ["--coverage", 0.9, "--coverage-fraction", 0.35]
    trained = tmp_path / "run"
    run("train.cli", tmp_path / "data", "--model", "cnn", *small, *aside, "--out", trained)
    metrics = json.loads((trained / "metrics.json").read_text())
    require_schema("edge-train-1", metrics)
    assert metrics["coverage"]["limits"]["radiographs"] == [70, 70]
    with (trained / "split.csv").open(newline="") as stream:
        assert sum(row["split"] == "coverage" for row in csv.DictReader(stream)) == 140
    run(
        "export.cli", trained, "--int8", "--force", "--formats", "tflite", "--recipe", "minmax", "--out", tmp_path / "b"
    )
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert set(manifest["coverage"]) == set(FILES) and "coverage" in manifest["spec"]
    run("export.evaluation.cli", tmp_path / "b", "--run", trained, "--out", tmp_path / "e")
    figures = json.loads((tmp_path / "e" / "metrics.json").read_text())["figures"]
    assert {name for name in figures if "coverage" in name} >= {"coverage of fractured, 0.9 wished"}
    image = next((tmp_path / "data" / "fractured").iterdir())
    record = json.loads(run("edge_runtime.cli", "--model", tmp_path / "b", "--json", image))
    require_schema("edge-infer-1", record)
    assert record["coverage"]["level"] == 0.9
    assert (record["decision"] == "abstain") == (record["coverage"]["open"] != [record["decision"]])
