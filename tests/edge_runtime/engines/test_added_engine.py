"""An engine is a file and a line, as `edge_runtime.engines` says: one is added to a copy of the runtime, and judges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The evaluator of the ONNX standard itself, in numpy.
FILE = """
from edge_runtime.engines.tensors import decode_output, encode_input


class ReferenceEngine:
    name = "reference"

    def __init__(self, content, where, spec, threads=None):
        import onnx
        from onnx.reference import ReferenceEvaluator

        self.version, self.settings = onnx.__version__, {}
        self._entry, *self._outputs = spec.tensors
        self._evaluator = ReferenceEvaluator(onnx.load_from_string(content))

    def run(self, image_u8):
        feed = {self._entry.name: encode_input(image_u8, self._entry)}
        stored = self._evaluator.run([tensor.name for tensor in self._outputs], feed)
        return {one.name: decode_output(value, one) for one, value in zip(self._outputs, stored, strict=True)}
"""
LINE = '    "reference": _Entry("onnx", "reference", "ReferenceEngine", "reference", ".onnx"),\n'
TOLERANCE = 1e-5  # float32 sums, added in another order


ROOT = Path(__file__).parents[3]


@pytest.fixture
def runtime(tmp_path) -> Path:
    """A folder to import from, with a copy of the runtime that knows one engine more."""
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", "model")
    shutil.copytree(ROOT / "edge_runtime", tmp_path / "edge_runtime", ignore=ignored)
    (tmp_path / "edge_runtime" / "engines" / "reference.py").write_text(FILE)
    table = tmp_path / "edge_runtime" / "engines" / "__init__.py"
    before, last, after = table.read_text().partition('".onnx"),\n')
    table.write_text(before + last + LINE + after)
    return tmp_path


def run(runtime: Path, module: str, *arguments: str | Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(runtime), str(ROOT)))}
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(command, cwd=runtime, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_engine_added_by_a_file_and_a_line_judges_an_image(runtime, tiny_bundle, golden_images):
    # The float file: the evaluator has no form of int8's operators in the version that ours are written in.
    asked = ("--json", "--model", tiny_bundle / "model_float32.onnx", golden_images[0])
    added, known = (
        json.loads(run(runtime, "edge_runtime.cli", "--engine", name, *asked)) for name in ("reference", "onnxruntime")
    )
    assert added["engine"].startswith("reference")
    assert added["decision"] == known["decision"]
    assert added["probability"] == pytest.approx(known["probability"], abs=TOLERANCE)


def test_export_offers_an_added_engine_too(runtime):
    assert "[litert|tflite-runtime|onnxruntime|reference]" in run(runtime, "export.cli", "--help")
