"""What is shipped is a whole bundle, small, of radiographs, with a card that tells figures of images it never saw."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from edge_runtime.bundle import open_model, verify_bundle
from edge_runtime.spec import ModelSpec
from export.evaluation.cli import main as evaluate
from tools import ship_model
from tools.ship_model import Proof, ship
from train.phantom.dataset import write_images


@pytest.fixture
def proof(tmp_path, tiny_bundle) -> Proof:
    """A list of splits, and an evaluation of the tiny bundle on phantoms."""
    images = tmp_path / "images"
    write_images(images, {"test": 24}, 3, 1)
    done = CliRunner().invoke(evaluate, [str(tiny_bundle), str(images), "--out", str(tmp_path / "evaluation")])
    assert done.exit_code == 0, done.output
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "split.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["path", "split"], *([f"{i}.png", "train" if i < 60 else "test"] for i in range(84))])
    (tmp_path / "run" / "run.json").write_text(json.dumps({"config": {"model": "efficientnetlite0"}}))
    return Proof(tmp_path / "run", tmp_path / "evaluation")


def test_a_bundle_of_phantoms_is_not_shipped(tiny_bundle, proof, tmp_path):
    with pytest.raises(SystemExit, match="domain phantom"):
        ship(tiny_bundle, proof, tmp_path / "model")


def test_a_bundle_is_shipped_with_its_figures(tiny_bundle, proof, tmp_path, monkeypatch):
    # The one bundle at hand is of phantoms; all but that word is as with radiographs.
    real = ship_model.spec_of_bundle
    monkeypatch.setattr(ship_model, "spec_of_bundle", lambda *given: _of_radiographs(real(*given)))
    target = tmp_path / "model"
    size = ship(tiny_bundle, proof, target)
    assert size == sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    manifest = verify_bundle(target)
    assert set(manifest["files"]) >= {"model_int8.tflite", "MODEL_CARD.md", "golden/expected.json"}
    assert open_model(target).path.name == "model_int8.tflite"
    card = (target / "MODEL_CARD.md").read_text()
    auc = json.loads((proof.evaluation / "metrics.json").read_text())["figures"]["AUC"]
    assert f"- AUC: {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})" in card
    assert "fitted to 60 radiographs, on 24 radiographs" in card and "$" not in card
    assert "EfficientNet-Lite0 at 32 x 32" in card
    assert ship(tiny_bundle, proof, target) == size  # again, in place of the earlier one


def test_what_is_too_large_is_not_shipped(tiny_bundle, proof, tmp_path, monkeypatch):
    real = ship_model.spec_of_bundle
    monkeypatch.setattr(ship_model, "spec_of_bundle", lambda *given: _of_radiographs(real(*given)))
    monkeypatch.setattr(ship_model, "MOST_BYTES", 1000)
    with pytest.raises(SystemExit, match="at most"):
        ship(tiny_bundle, proof, tmp_path / "model")
    assert not list(tmp_path.glob("*model*"))


def _of_radiographs(spec: ModelSpec) -> ModelSpec:
    return replace(spec, domain="radiograph")
