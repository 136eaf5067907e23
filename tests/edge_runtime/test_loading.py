"""The way of the commands to a Predictor: the same one, verified all the same."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest

from edge_runtime import Predictor
from edge_runtime.errors import ModelError
from edge_runtime.loading import load_predictor


@pytest.mark.parametrize("name", ["", "model_int8.tflite", "model_float32.onnx"])
def test_it_is_the_predictor_that_the_library_makes(tiny_bundle, golden_images, name):
    loaded, made = load_predictor(tiny_bundle / name, "auto", 1), Predictor(tiny_bundle / name, threads=1)
    assert loaded.model == made.model and loaded.engine.name == made.engine.name
    assert loaded.predict(golden_images[0]).probability == made.predict(golden_images[0]).probability
    assert gc.isenabled()


def test_an_altered_model_is_refused_before_an_engine_is_imported(bundle_copy, repository):
    path = bundle_copy / "model_int8.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code = (
        "import sys\nfrom edge_runtime.loading import load_predictor\n"
        f"try:\n    load_predictor({str(bundle_copy)!r}, 'auto', None)\n"
        "except Exception as error:\n    print(type(error).__name__, 'ai_edge_litert' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout == "ModelError False\n"


def test_collection_of_garbage_goes_on_after_an_error(tmp_path):
    with pytest.raises(ModelError):
        load_predictor(tmp_path / "absent", "auto", None)
    assert gc.isenabled()


def test_the_benchmark_of_the_runtime_runs(tiny_bundle, repository, tmp_path):
    command = [sys.executable, "-m", "benchmarks.runtime", "--model", tiny_bundle, "--out", tmp_path / "figures.json"]
    command += ["--repetitions", "1", "--folder", "3"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(value > 0 for value in figures.values())
    assert figures["peak memory, MB, large PNG"] <= 150
    assert "first answer, times the barest script" in done.stdout
