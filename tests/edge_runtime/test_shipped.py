"""The network that ships: whole, small, and what its papers say of it is true."""

from __future__ import annotations

import json
import re

import pytest

from edge_runtime import Predictor
from edge_runtime.bundle import open_model, shipped_bundle, verify_bundle
from edge_runtime.predictor import OF_PHANTOM_WARNING
from edge_runtime.self_test import run_self_test
from train.phantom.dataset import write_images

MOST_BYTES, MOST_MODEL_BYTES = 5_000_000, 4_000_000


@pytest.fixture(scope="module")
def shipped():
    bundle = shipped_bundle()
    assert bundle is not None
    return bundle


def test_it_is_whole_and_small_and_holds_nothing_else(shipped):
    manifest = verify_bundle(shipped)
    files = {path.relative_to(shipped).as_posix(): path.stat().st_size for path in shipped.rglob("*") if path.is_file()}
    assert set(files) == {*manifest["files"], "manifest.json"}
    assert sum(files.values()) < MOST_BYTES and files["model_int8.tflite"] < MOST_MODEL_BYTES
    assert manifest["parity"]["verdict"] != "failed"
    # Of pictures only drawn phantoms: no radiograph ships.
    assert all(re.fullmatch(r"golden/phantom_\d+\.png", name) for name in files if name.endswith((".png", ".jpg")))


def test_it_answers_here_as_where_it_was_exported(shipped):
    results = list(run_self_test(shipped))
    assert results and all(result.passed for result in results)


def test_it_knows_radiographs_has_a_map_and_operating_points(shipped):
    spec = open_model(shipped).spec
    assert spec.domain == "radiograph"
    assert [tensor.name for tensor in spec.tensors] == ["grey", "probability", "heatmap"]
    assert [point.name for point in spec.operating_points] == ["balanced", "sensitivity-0.90", "specificity-0.90"]
    assert spec.operating_points[0].threshold == spec.threshold


def test_without_a_word_about_models_it_judges_and_says_that_a_phantom_is_none_of_its_images(
    edge_infer_process, tmp_path
):
    write_images(tmp_path, {"test": 1}, 0, 1)
    (phantom,) = tmp_path.rglob("*.png")
    done = edge_infer_process("--json", phantom)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["warnings"] == [OF_PHANTOM_WARNING] and answer["domain"] == "radiograph"
    assert answer["model"] == f"{Predictor().model.spec.name}/model_int8.tflite"


def test_its_card_tells_the_figures_and_the_limits(shipped):
    card = (shipped / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: ") and "CC BY 4.0" in card and "not a medical device" in card
    for point in open_model(shipped).spec.operating_points:
        assert f"`{point.name}`" in card
    assert "$" not in card and "/home" not in card
