"""The folder for the hub: whole, usable as a bundle, with a head that the hub reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from edge_runtime import Predictor
from edge_runtime.bundle import verify_bundle
from export.bundle.card_head import card_head
from export.cli import main

SHIPPED = Path(__file__).parents[3] / "edge_runtime" / "model"


def edge_export(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def head_of(folder: Path) -> dict:
    _, head, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head)


def test_the_folder_is_the_bundle_with_a_readme(tmp_path, tiny_bundle, golden_images):
    done = edge_export(tiny_bundle, "--hub-folder", tmp_path / "hub")
    assert done.exit_code == 0 and "license" in done.output, done.output
    files = {path.relative_to(tmp_path / "hub").as_posix() for path in (tmp_path / "hub").rglob("*") if path.is_file()}
    listed = set(json.loads((tiny_bundle / "manifest.json").read_text())["files"])
    assert files == {*listed, "manifest.json", "README.md", "spec.json", ".gitattributes"}
    head = head_of(tmp_path / "hub")
    assert head["library_name"] == "fracture-edge" and "int8" in head["tags"] and "license" not in head
    verify_bundle(tmp_path / "hub")
    answers = [Predictor(folder).predict(golden_images[0]).probability for folder in (tiny_bundle, tmp_path / "hub")]
    assert answers[0] == answers[1]
    assert "*.tflite filter=lfs" in (tmp_path / "hub" / ".gitattributes").read_text()


def test_the_network_that_ships_names_its_license(tmp_path):
    done = edge_export("--hub-folder", tmp_path / "hub")
    assert done.exit_code == 0 and "license" not in done.output, done.output
    assert head_of(tmp_path / "hub")["license"] == "apache-2.0"
    assert (tmp_path / "hub" / "README.md").read_bytes() == (SHIPPED / "MODEL_CARD.md").read_bytes()


def test_a_new_bundle_has_a_head_with_the_area_of_its_int8_file(make_bundle, tmp_path):
    bundle = make_bundle("cnn")
    assert edge_export(bundle, "--hub-folder", tmp_path / "hub").exit_code == 0
    head = head_of(tmp_path / "hub")
    told = head["model-index"][0]["results"][0]
    files = {one["file"]: one for one in json.loads((bundle / "parity.json").read_text())["files"]}
    assert told["metrics"][0]["value"] == pytest.approx(files["model_int8.tflite"]["radiograph_auc"], abs=1e-4)
    assert "edge-infer --model FOLDER" in (tmp_path / "hub" / "README.md").read_text()


def test_a_leaking_run_tells_no_figure_and_odd_names_stay_names(tiny_bundle):
    from dataclasses import replace

    from edge_runtime.bundle import read_manifest, spec_of_bundle

    spec = replace(spec_of_bundle(read_manifest(tiny_bundle), tiny_bundle), name='a: "b" # c')
    parity = {"files": [{"file": "model_int8.onnx", "radiograph_auc": 0.9}], "measured_on": "x: {y}"}
    assert "model-index" not in yaml.safe_load("\n".join(card_head(spec, parity, leaked=True)[1:-1]))
    head = yaml.safe_load("\n".join(card_head(spec, parity, leaked=False)[1:-1]))
    assert head["model-index"][0]["name"] == spec.name
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "x: {y}"


def test_an_earlier_one_is_replaced_and_anything_else_is_not(tmp_path, tiny_bundle):
    for _ in range(2):
        assert edge_export(tiny_bundle, "--hub-folder", tmp_path / "hub").exit_code == 0
    (tmp_path / "hub" / "thesis.txt").write_text("years of work")
    done = edge_export(tiny_bundle, "--hub-folder", tmp_path / "hub")
    assert done.exit_code == 2 and "nothing was overwritten" in done.output
    assert (tmp_path / "hub" / "thesis.txt").read_text() == "years of work"
