"""Networks of keras.applications, trained as tutorials train them, decide in int8 as they do in Keras."""

from __future__ import annotations

import os

import pytest

from benchmarks.applications import APPLICATIONS, GOOD_ENOUGH, build, export_network, train, write_images
from export.quiet import quiet_converters

MINUTES = float(os.environ.get("EDGE_TRAINING_MINUTES", "20"))  # of wall time, for each network
MOST_CHANGED = 0.03  # share of decisions, by post-training alone
TINY = {"train": (0, 24), "val": (100_000, 12), "calibration": (200_000, 12), "test": (300_000, 12)}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("applications")
    write_images(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_trained_application_decides_in_int8_as_it_does(name, phantoms):
    with quiet_converters():
        model = build(name)
        area = train(model, phantoms, MINUTES)
        if area < GOOD_ENOUGH:
            pytest.skip(f"AUC {area:.3f} after {MINUTES:g} minutes: more are needed, EDGE_TRAINING_MINUTES=60")
        model.save(phantoms / f"{name}.keras")
        parity = export_network(phantoms / f"{name}.keras", phantoms, phantoms / name)
    int8 = [one for one in parity.files if one.precision == "int8"]
    assert {one.file for one in int8} == {"model_int8.tflite", "model_int8.onnx"}
    for one in int8:
        assert one.radiograph_decisions_changed <= MOST_CHANGED * one.radiographs, (one.file, one.reasons)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_application_becomes_int8_in_both_formats(name, tmp_path):
    """Whatever it has learnt: its kinds of layers do not depend on that. The recipe refuses operators left in float."""
    write_images(tmp_path, TINY)
    with quiet_converters():
        build(name).save(tmp_path / f"{name}.keras")
        parity = export_network(tmp_path / f"{name}.keras", tmp_path, tmp_path / "bundle", recipe="minmax")
    int8 = {one.file for one in parity.files if one.precision == "int8"}
    assert int8 == {"model_int8.tflite", "model_int8.onnx"}


def test_phantoms_of_a_part_are_of_both_classes_and_none_is_a_hairline_break(tmp_path):
    write_images(tmp_path, TINY)
    for part, (_, count) in TINY.items():
        found = {label: len(list((tmp_path / part / label).glob("*.png"))) for label in ("normal", "fractured")}
        assert sum(found.values()) == count and min(found.values()) > 0
