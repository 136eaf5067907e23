"""edge-infer --bench: figures that are those of this machine, as a table and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.bench import PARTS, bench_images, run_bench
from edge_runtime.errors import ImageError, ModelError

SPREAD = ["median", "percentile_90", "percentile_99"]


def bench(edge_infer_process, *arguments):
    done = edge_infer_process("--bench", "3", *arguments)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout.decode()


def test_json_is_one_object_with_every_figure(edge_infer_process, tiny_bundle):
    found = json.loads(bench(edge_infer_process, "--model", tiny_bundle, "--json"))
    assert (found["images"], found["repetitions"], found["model"]) == (8, 3, "tiny/model_int8.tflite")
    assert list(found["milliseconds"]) == [*PARTS, "total"]
    for spread in found["milliseconds"].values():
        assert list(spread) == SPREAD
        assert 0 <= spread["median"] <= spread["percentile_90"] <= spread["percentile_99"]
    assert 0.05 < found["first_answer_s"] < 60
    assert 10 < found["peak_memory_mb"] < 150
    assert {"temperature_before", "temperature_after", "throttling"} <= set(found)


def test_the_table_shows_the_same_for_people(edge_infer_process, tiny_bundle, golden_images):
    first, head, *rows = bench(edge_infer_process, "--model", tiny_bundle, *golden_images[:2]).splitlines()
    assert first.startswith("tiny/model_int8.tflite, litert") and first.endswith("2 images, 3 times each")
    assert head.split() == ["milliseconds", "median", "90", "%", "99", "%"]
    assert [row.split()[0] for row in rows] == [*PARTS, "total", "first", "peak", "temperature", "throttling"]


def test_folders_and_single_model_files_serve(edge_infer_process, tiny_bundle):
    model, folder = tiny_bundle / "model_float32.onnx", tiny_bundle / "golden"
    found = json.loads(bench(edge_infer_process, "--model", model, "--json", folder))
    assert (found["images"], found["model"]) == (8, "tiny/model_float32.onnx")


def test_the_percentiles_are_of_all_images_and_repetitions(tiny_bundle, golden_images):
    class Clockwork:
        """Answers as a Predictor does, with times that are known."""

        def __init__(self) -> None:
            self.predictor, self.calls = Predictor(tiny_bundle), 0

        def predict(self, image: Path):
            prediction = self.predictor.predict(image)
            prediction.milliseconds.update(decode=1.0 * self.calls, preprocess=2.0, inference=10.0 * self.calls)
            self.calls += 1
            return prediction

    ticks = []
    result = run_bench(Clockwork(), golden_images[:5], 20, tick=lambda: ticks.append(1))
    counted = np.arange(1, 101)  # the first answer is told by itself
    assert len(ticks) == 100
    expected = [round(float(value), 3) for value in np.percentile(counted, [50, 90, 99])]
    assert list(result.milliseconds["decode"].values()) == expected
    assert list(result.milliseconds["preprocess"].values()) == [2.0] * 3
    total = [round(float(value), 3) for value in np.percentile(11.0 * counted + 2, [50, 90, 99])]
    assert list(result.milliseconds["total"].values()) == total


def test_without_images_and_without_golden_ones_it_asks_for_some(tiny_bundle, bundle_copy):
    shutil.rmtree(bundle_copy / "golden")
    for model in (tiny_bundle / "model_int8.onnx", bundle_copy):
        with pytest.raises(ModelError, match="give images to measure with"):
            bench_images(model, [])


def test_an_image_that_cannot_be_judged_is_exit_1(edge_infer_process, tiny_bundle, tmp_path):
    (tmp_path / "empty.png").touch()
    done = edge_infer_process("--bench", "2", "--model", tiny_bundle, tmp_path)
    assert (done.returncode, done.stdout) == (ImageError.exit_code, b"") and b"empty.png" in done.stderr


def test_an_empty_folder_is_exit_2(edge_infer_process, tiny_bundle, tmp_path):
    done = edge_infer_process("--bench", "2", "--model", tiny_bundle, tmp_path)
    assert done.returncode == 2 and b"no image files found" in done.stderr


def test_a_large_image_shows_in_the_peak(edge_infer_process, tiny_bundle, tmp_path):
    Image.new("L", (6000, 5000)).save(tmp_path / "large.png")
    small = json.loads(bench(edge_infer_process, "--model", tiny_bundle, "--json"))["peak_memory_mb"]
    large = json.loads(bench(edge_infer_process, "--model", tiny_bundle, "--json", tmp_path))["peak_memory_mb"]
    assert 25 < large - small < 150
