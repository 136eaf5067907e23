"""The manifest of a run's bundle tells which answers and images are usual, as edge-serve reads and counts them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.bundle import read_manifest
from edge_runtime.serving.drift import Drift, reference_in
from edge_runtime.serving.store import Store
from export.bundle.usual_answers import usual_answers
from export.inputs.run_reader import FloatNetwork, LabelledImage, open_network
from tests.export.conftest import TEST_IMAGES


def test_the_manifest_counts_what_a_device_answers_to_the_test_images(bundle, make_run, tmp_path):
    manifest = read_manifest(bundle)
    reference = reference_in(manifest)
    assert reference is not None and reference.decided == TEST_IMAGES and reference.abstained == 0
    predictor = Predictor(bundle / "model_float32.tflite")
    store = Store(tmp_path / "state")
    run = make_run(manifest["spec"]["name"])
    network = open_network(run, None, None)
    for image in network.test:
        record = predictor.predict(run / "data" / image.path, pixels=True).to_dict()
        store.answered("rest", "2026-01-02", json.loads(json.dumps(record)), None)
    report = Drift(store, predictor.model.sha256, reference, lambda line: None)._look("2026-01-02")
    assert report.tenths == reference.tenths and report.reference == "bundle"
    rows = store.answers_of(predictor.model.sha256, None, None)
    store.close()
    assert sum(row[-1] for row in rows) == TEST_IMAGES
    assert sum(reference.brightness) == sum(reference.contrast) == TEST_IMAGES


@pytest.fixture
def radiographs(make_run, radiograph_u8, tmp_path) -> FloatNetwork:
    """A network of radiographs with one that the gate takes for none, one that is damaged and one that is gone."""
    network = open_network(make_run("cnn"), None, None)
    rng = np.random.default_rng(1)
    pictures = {"noise.png": rng.integers(0, 256, (64, 64, 3), np.uint8), "grey.png": np.tile(radiograph_u8, (2, 2))}
    for name, image_u8 in pictures.items():
        Image.fromarray(image_u8).save(tmp_path / name)
    (tmp_path / "damaged.png").write_bytes((tmp_path / "grey.png").read_bytes()[:500])
    names = [*pictures, "damaged.png", "gone.png"]
    images = tuple(LabelledImage(name, "", 0, number, number) for number, name in enumerate(names))
    spec = replace(network.spec, domain="radiograph")
    return replace(network, spec=spec, data_root=tmp_path, train=(), val=images, test=())


def test_what_a_device_withholds_is_counted_and_what_it_cannot_read_is_not(radiographs, monkeypatch):
    monkeypatch.setattr("edge_runtime.radiograph_gate.LEAST_SCORE", -np.inf)  # colours alone are no radiograph here
    found = usual_answers(radiographs, lambda images_u8: np.full(len(images_u8), 0.99))
    assert found["abstained"] == 1 and found["tenths"] == [0] * 9 + [1]
    again = usual_answers(radiographs, lambda images_u8: np.full(len(images_u8), 0.99))
    assert json.dumps(found) == json.dumps(again)


def test_without_radiographs_there_is_no_reference(radiographs):
    assert usual_answers(replace(radiographs, data_root=Path("/nowhere")), lambda images_u8: images_u8) is None
    assert usual_answers(replace(radiographs, data_root=None), lambda images_u8: images_u8) is None
