"""The one path from image to decision."""

from __future__ import annotations

import json
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Prediction, Predictor, bundle, predictor
from edge_runtime.bundle import open_model
from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.errors import ImageError, ModelError
from edge_runtime.images import read_grey
from edge_runtime.predictor import OF_PHANTOM_WARNING, PHANTOM_WARNING, TURNED_WARNING
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import Coverage, OperatingPoint
from train.phantom.dataset import write_images


@pytest.fixture(scope="module")
def litert(tiny_bundle) -> Predictor:
    return Predictor(tiny_bundle)


def answer(prediction: Prediction) -> dict:
    """All but what depends on the clock and on how the image was named."""
    return {key: value for key, value in prediction.to_dict().items() if key not in ("milliseconds", "path")}


def test_path_text_and_bytes_of_an_image_have_one_answer(litert, golden_images):
    path = golden_images[0]
    by_path, by_text, by_bytes = (litert.predict(source) for source in (path, str(path), path.read_bytes()))
    assert answer(by_path) == answer(by_text) == answer(by_bytes)
    assert (by_path.path, by_text.path, by_bytes.path) == (str(path), str(path), "-")


def test_a_prediction_tells_how_it_was_made(litert, tiny_bundle, golden_images):
    prediction = litert.predict(golden_images[0])
    assert prediction.model == "tiny/model_int8.tflite"
    assert prediction.model_sha256 == read_embedded_spec(tiny_bundle / "model_int8.tflite").model_sha256
    assert prediction.engine.startswith("litert ")
    assert set(prediction.milliseconds) == {"decode", "preprocess", "inference"}
    assert all(part >= 0 for part in prediction.milliseconds.values())


def test_golden_images_get_the_probability_that_export_recorded(litert, tiny_bundle, golden_images):
    expected = json.loads((tiny_bundle / "golden" / "expected.json").read_bytes())
    for path in golden_images:
        recorded = expected[path.name]["model_int8.tflite"]["probability"]
        # A step of int8 is 1/256; another processor may differ by some.
        assert abs(litert.predict(path).probability - recorded) <= 0.05


def test_a_probability_is_that_of_the_preprocessed_image(litert, radiograph_u8, tmp_path):
    Image.fromarray(radiograph_u8).save(tmp_path / "x.png")
    image_u8 = preprocess(read_grey(tmp_path / "x.png"), litert.model.spec)
    assert litert.predict(tmp_path / "x.png").probability == litert.probability(image_u8)


def with_threshold(model: Path, threshold: float, folder: Path) -> Path:
    embedded = read_embedded_spec(model)
    path = folder / f"{threshold}{model.suffix}"
    alone = model.read_bytes()[: embedded.model_bytes]
    path.write_bytes(embed(alone, replace(embedded.spec, threshold=threshold), model.suffix))
    return path


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_a_probability_at_the_threshold_is_fractured(tiny_bundle, golden_images, tmp_path, engine):
    model = tiny_bundle / f"model_float32{'.tflite' if engine == 'litert' else '.onnx'}"
    probability = Predictor(model, engine).predict(golden_images[0]).probability
    above = float(np.nextafter(probability, 1))
    for threshold, decision, label in (
        (probability, "fractured", "fractured"),
        (above, "not fractured", "not fractured"),
    ):
        prediction = Predictor(with_threshold(model, threshold, tmp_path)).predict(golden_images[0])
        assert (prediction.decision, prediction.label) == (decision, label)
        assert prediction.threshold == threshold
        assert ("at or above" in prediction.reason) == (decision == "fractured")


def test_the_label_is_the_name_that_the_data_set_used(tiny_bundle, golden_images, tmp_path):
    model = tiny_bundle / "model_float32.onnx"
    embedded = read_embedded_spec(model)
    spec = replace(embedded.spec, labels=("gesund", "Bruch"), threshold=1e-9)
    path = tmp_path / "model.onnx"
    path.write_bytes(embed(model.read_bytes()[: embedded.model_bytes], spec, ".onnx"))
    prediction = Predictor(path).predict(golden_images[0])
    assert (prediction.label, prediction.decision) == ("Bruch", "fractured")


@pytest.mark.parametrize("source", ["absent.png", b"", b"text"])
def test_what_cannot_be_judged_raises_and_the_next_image_is_judged(litert, golden_images, source):
    with pytest.raises(ImageError):
        litert.predict(source)
    assert litert.predict(golden_images[0]).decision == "not fractured"


def test_a_large_jpeg_is_decoded_reduced(litert, tmp_path, monkeypatch):
    asked = []
    read = predictor.read_image
    monkeypatch.setattr(
        predictor, "read_image", lambda source, side, *rest, **more: asked.append(side) or read(source, side)
    )
    Image.new("L", (64, 64)).save(tmp_path / "x.jpg")
    litert.predict(tmp_path / "x.jpg")
    assert asked == [litert.model.spec.size]


# Which model


def test_the_model_given_comes_before_the_environment(tiny_bundle, monkeypatch):
    monkeypatch.setenv("EDGE_MODEL", "elsewhere")
    assert Predictor(tiny_bundle / "model_int8.onnx").engine.name == "onnxruntime"
    assert Predictor(str(tiny_bundle)).engine.name == "litert"


def test_the_environment_names_the_model(tiny_bundle, monkeypatch):
    monkeypatch.setenv("EDGE_MODEL", str(tiny_bundle))
    assert Predictor().model.path == tiny_bundle / "model_int8.tflite"


def test_the_model_in_the_package_comes_last(tiny_bundle, monkeypatch):
    monkeypatch.delenv("EDGE_MODEL", raising=False)
    monkeypatch.setattr(bundle, "shipped_bundle", lambda: None)
    with pytest.raises(ModelError, match="--model BUNDLE"):
        Predictor()
    monkeypatch.setattr(bundle, "shipped_bundle", lambda: tiny_bundle)
    assert Predictor().model.path.parent == tiny_bundle


def test_a_network_of_radiographs_says_so_where_the_image_is_a_generated_phantom(tiny_bundle, tmp_path):
    write_images(tmp_path, {"test": 1}, 0, 1)
    (phantom,) = tmp_path.rglob("*.png")
    opened = open_model(tiny_bundle)
    of_radiographs = replace(opened, spec=replace(opened.spec, domain="radiograph"))
    assert OF_PHANTOM_WARNING in Predictor(of_radiographs).predict(phantom).warnings
    assert Predictor(replace(opened, spec=replace(opened.spec, domain="phantom"))).predict(phantom).warnings == [
        PHANTOM_WARNING
    ]
    Image.open(phantom).save(tmp_path / "plain.png")
    assert OF_PHANTOM_WARNING not in Predictor(of_radiographs).predict(tmp_path / "plain.png").warnings


def test_a_coverage_withholds_what_it_leaves_in_doubt(tiny_bundle, golden_images):
    opened = open_model(tiny_bundle)
    plain = [Predictor(opened).predict(path) for path in golden_images]
    wide = Coverage(0.95, max(one.probability for one in plain), 0.0, (60, 60))
    judged = Predictor(replace(opened, spec=replace(opened.spec, coverage=wide))).predict(golden_images[0], turns=2)
    assert (judged.decision, judged.reason) == ("abstain", "at a coverage of 0.95 both classes are possible")
    assert judged.to_dict()["coverage"] == {"level": 0.95, "open": ["not fractured", "fractured"]}
    assert TURNED_WARNING in judged.warnings and judged.label == plain[0].label
    sure = replace(wide, most_negative=0.0)
    found = Predictor(replace(opened, spec=replace(opened.spec, threshold=0.001, coverage=sure)))
    assert found.predict(golden_images[0]).to_dict()["coverage"]["open"] == ["fractured"]
    assert found.predict(golden_images[0]).decision == "fractured"
    assert "coverage" not in plain[0].to_dict() and TURNED_WARNING not in plain[0].warnings


def test_an_operating_point_decides(tiny_bundle, golden_images):
    opened = open_model(tiny_bundle)
    sure = OperatingPoint("sure", 0.999, (0.1, 0.0, 0.2), (1.0, 0.9, 1.0))
    opened = replace(opened, spec=replace(opened.spec, operating_points=(sure,)))
    answers = [Predictor(opened, operating_point="sure").predict(path) for path in golden_images]
    assert {(answer.threshold, answer.decision) for answer in answers} == {(0.999, "not fractured")}
    assert [answer.probability for answer in answers] == [
        Predictor(opened).predict(i).probability for i in golden_images
    ]


def test_a_prediction_tells_what_was_set_in_the_engine(tiny_bundle, golden_images):
    settings = Predictor(tiny_bundle, "onnxruntime", threads=1).predict(golden_images[0]).to_dict()["engine_settings"]
    assert settings["threads"] == 1
    # On x86 products saturate without it where VNNI is absent; ARM needs nothing.
    assert ("session.x64quantprecision" in settings) == (platform.machine() in ("x86_64", "AMD64"))


# What is no answer, and what every answer says


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.1, 1.1])
def test_what_is_no_probability_is_an_error_and_never_an_answer(tiny_bundle, golden_images, monkeypatch, value):
    predictor = Predictor(tiny_bundle)
    monkeypatch.setattr(predictor.engine, "run", lambda image: {"probability": np.float32(value)})
    with pytest.raises(ImageError, match="is no probability") as caught:
        predictor.predict(golden_images[0])
    assert caught.value.code == "no_answer" and str(golden_images[0]) in str(caught.value)


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_threads_may_share_a_predictor_and_each_gets_its_own_answer(tiny_bundle, engine):
    predictor = Predictor(tiny_bundle, engine)
    images = [np.clip(np.random.default_rng(n).normal(6 * n, 20, (32, 32)), 0, 255).astype(np.uint8) for n in range(40)]
    expected = [predictor.probability(image_u8) for image_u8 in images]
    assert len(set(expected)) > 10
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(predictor.probability, images * 50))
    assert found == expected * 50


def test_a_network_of_phantoms_says_so_with_each_answer(tiny_bundle, golden_images):
    prediction = Predictor(tiny_bundle).predict(golden_images[0])
    assert prediction.domain == "phantom" and prediction.warnings == [PHANTOM_WARNING]
    assert (prediction.depth, prediction.depth_from) == (8, "file")
