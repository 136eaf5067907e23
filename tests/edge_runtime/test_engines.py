"""One model file, one answer: every engine, every time, with any number of threads; and no answer with a wrong spec."""

from __future__ import annotations

import json
import os
import platform
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import engines
from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.engines import open_engine
from edge_runtime.engines.onnx_runtime import needs_precision
from edge_runtime.errors import DependencyError, ModelError
from edge_runtime.images import read_grey
from edge_runtime.spec import Tensor

# float32 engines differ by the order of their additions only.
FLOAT_TOLERANCE = 1e-5
# int8 files of the two formats round in different places: a few steps of 1/256.
INT8_TOLERANCE = 0.05

CPUINFO = Path("/proc/cpuinfo")
INSTALLED = ["litert", "onnxruntime"]
PRECISIONS = ["float32", "int8"]


def opened(bundle: Path, precision: str, engine: str, threads: int | None = None):
    path = bundle / f"model_{precision}{engines.suffix_of(engine)}"
    return open_engine(path, read_embedded_spec(path).spec, engine, threads)


def answers(engine, images_u8) -> np.ndarray:
    return np.array([engine.run(image_u8)["probability"] for image_u8 in images_u8])


@pytest.fixture(scope="module")
def images_u8(golden_images) -> list[np.ndarray]:
    extremes = [np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8)]
    return [*extremes, *(read_grey(path) for path in golden_images)]


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_probability_is_one_real_number(tiny_bundle, images_u8, precision, engine):
    outputs = opened(tiny_bundle, precision, engine).run(images_u8[0])
    assert set(outputs) == {"probability"}
    assert outputs["probability"].shape == () and outputs["probability"].dtype == np.float32


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", FLOAT_TOLERANCE), ("int8", INT8_TOLERANCE)])
def test_engines_agree(tiny_bundle, images_u8, precision, tolerance):
    by_engine = [answers(opened(tiny_bundle, precision, engine), images_u8) for engine in INSTALLED]
    assert np.abs(by_engine[0] - by_engine[1]).max() <= tolerance
    assert by_engine[0].max() - by_engine[0].min() > 0.5  # agreement on answers that differ


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_answers_are_those_that_export_recorded(tiny_bundle, golden_images, images_u8, precision, engine):
    expected = json.loads((tiny_bundle / "golden" / "expected.json").read_bytes())
    file = f"model_{precision}{engines.suffix_of(engine)}"
    recorded = [expected[path.name][file]["probability"] for path in golden_images]
    tolerance = FLOAT_TOLERANCE if precision == "float32" else INT8_TOLERANCE
    found = answers(opened(tiny_bundle, precision, engine), images_u8[2:])
    assert np.abs(found - recorded).max() <= tolerance


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_answer_does_not_depend_on_what_was_asked_before(tiny_bundle, images_u8, precision, engine):
    session = opened(tiny_bundle, precision, engine)
    first = answers(session, images_u8)
    np.testing.assert_array_equal(answers(session, images_u8[::-1])[::-1], first)
    np.testing.assert_array_equal(answers(opened(tiny_bundle, precision, engine), images_u8), first)


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_number_of_threads_changes_nothing(tiny_bundle, images_u8, precision, engine):
    one, two = (opened(tiny_bundle, precision, engine, threads) for threads in (1, 2))
    np.testing.assert_array_equal(answers(one, images_u8), answers(two, images_u8))
    assert (one.settings["threads"], two.settings["threads"]) == (1, 2)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only this family of processors saturates")
def test_onnxruntime_does_not_saturate_on_x86(tiny_bundle):
    settings = opened(tiny_bundle, "int8", "onnxruntime").settings
    assert (settings["session.x64quantprecision"], settings["session.x64quantprecision.reason"]) in {
        ("1", "the processor has no VNNI"),
        ("1", "the processor's flags cannot be read"),
        ("0", "the processor has VNNI"),
    }


@pytest.mark.parametrize(
    ("cpuinfo", "precise"),
    [
        ("flags\t\t: fpu avx2\nflags\t\t: fpu avx2\n", True),
        ("flags\t\t: fpu avx2 avx512_vnni\n", False),
        ("flags\t\t: fpu avx2 avx_vnni\nflags\t\t: fpu avx2\n", True),  # cores of two kinds
        ("model name\t: avx_vnni is not a flag here\n", True),
        ("", True),
    ],
)
def test_sums_are_kept_from_saturating_unless_every_core_has_vnni(cpuinfo, precise):
    assert needs_precision(cpuinfo)[0] is precise


@pytest.mark.skipif(needs_precision(CPUINFO.read_text() if CPUINFO.exists() else "")[0], reason="no VNNI here")
def test_with_vnni_the_option_changes_no_answer(tiny_bundle, images_u8, monkeypatch):
    fast = answers(opened(tiny_bundle, "int8", "onnxruntime"), images_u8)
    monkeypatch.setattr("edge_runtime.engines.onnx_runtime.needs_precision", lambda cpuinfo: (True, "asked for"))
    precise = opened(tiny_bundle, "int8", "onnxruntime")
    assert precise.settings["session.x64quantprecision"] == "1"
    np.testing.assert_array_equal(answers(precise, images_u8), fast)


@pytest.mark.parametrize("engine", INSTALLED)
def test_an_engine_says_who_it_is(tiny_bundle, engine):
    session = opened(tiny_bundle, "int8", engine)
    assert session.name == engine and session.version[0].isdigit()


# Refused before an answer can be wrong


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda grey, out: (replace(grey, scale=1 / 128), out), "scale 1/255"),
        (lambda grey, out: (replace(grey, zero_point=0), out), "zero point -128"),
        (lambda grey, out: (replace(grey, dtype="uint8", zero_point=0), out), "must be float32, or int8"),
        (lambda grey, out: (Tensor("grey", "float32"), out), "its spec says float32"),
        (lambda grey, out: (replace(grey, name="image"), out), "no tensor 'image'"),
        (lambda grey, out: (grey, replace(out, name="heatmap")), "no tensor 'heatmap'"),
    ],
)
@pytest.mark.parametrize("engine", INSTALLED)
def test_a_spec_with_another_tensor_is_refused(tiny_bundle, engine, change, says):
    path = tiny_bundle / f"model_int8{engines.suffix_of(engine)}"
    spec = read_embedded_spec(path).spec
    with pytest.raises(ModelError, match=says):
        open_engine(path, spec.with_tensors(change(*spec.tensors)), engine)


@pytest.mark.parametrize("change", [{"scale": 1 / 255}, {"zero_point": 0}, {"dtype": "uint8"}])
def test_a_spec_with_another_output_scale_is_refused(tiny_bundle, change):
    # ONNX keeps the scales of outputs inside the graph: its probability is float32.
    path = tiny_bundle / "model_int8.tflite"
    spec = read_embedded_spec(path).spec
    grey, probability = spec.tensors
    with pytest.raises(ModelError, match="export it again"):
        open_engine(path, spec.with_tensors((grey, replace(probability, **change))), "litert")


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"not a model" * 100])
def test_what_is_no_model_is_a_model_error_though_its_digest_fits(tiny_bundle, tmp_path, engine, content):
    suffix = engines.suffix_of(engine)
    spec = read_embedded_spec(tiny_bundle / f"model_float32{suffix}").spec
    path = tmp_path / f"model{suffix}"
    path.write_bytes(embed(content, spec, suffix))
    with pytest.raises(ModelError, match="cannot load it"):
        open_engine(path, spec, engine)


@pytest.mark.parametrize("engine", engines.NAMES)
def test_an_engine_that_is_not_installed_is_an_error_with_the_install_command(tiny_bundle, monkeypatch, engine):
    monkeypatch.setitem(sys.modules, {"litert": "ai_edge_litert"}.get(engine, engine.replace("-", "_")), None)
    path = tiny_bundle / f"model_float32{engines.suffix_of(engine)}"
    with pytest.raises(DependencyError, match="pip install") as caught:
        open_engine(path, read_embedded_spec(path).spec, engine)
    assert engines.install_command(engine) in str(caught.value)


def test_an_engine_that_is_installed_and_broken_is_a_dependency_error(tiny_bundle, monkeypatch):
    # As tflite-runtime without its shared libraries, or beside a numpy that it was not built for.
    broken = types.ModuleType("ai_edge_litert")
    broken.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ai_edge_litert", broken)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    path = tiny_bundle / "model_float32.tflite"
    with pytest.raises(DependencyError, match="litert is installed but cannot be imported"):
        open_engine(path, read_embedded_spec(path).spec, "litert")


# tflite-runtime: an environment of its own


@pytest.fixture(scope="module")
def tflite_python(repository) -> Path:
    python = repository / os.environ.get("TFLITE_VENV", ".venv-tflite") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no tflite-runtime: {python} is not there; `make setup-tflite` makes it where Python 3.11 is")
    return python


def test_tflite_runtime_passes_the_self_test(tiny_bundle, edge_infer_process, tflite_python):
    done = edge_infer_process("--model", tiny_bundle, "--self-test", "--json", python=tflite_python)
    assert done.returncode == 0, done.stderr.decode()
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["file"] for result in results] == ["model_int8.tflite", "model_float32.tflite"]
    assert all(result["passed"] and result["engine"].startswith("tflite-runtime 2.14") for result in results)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", FLOAT_TOLERANCE), ("int8", INT8_TOLERANCE)])
def test_tflite_runtime_agrees_with_litert(
    tiny_bundle, golden_images, images_u8, edge_infer_process, tflite_python, precision, tolerance
):
    model = tiny_bundle / f"model_{precision}.tflite"
    done = edge_infer_process("--model", model, "--threads", "2", "--json", *golden_images, python=tflite_python)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line)["probability"] for line in done.stdout.splitlines()]
    expected = answers(opened(tiny_bundle, precision, "litert"), images_u8[2:])
    assert np.abs(expected - found).max() <= tolerance


def test_tflite_runtime_is_driven_as_its_successor(tiny_bundle, tmp_path, monkeypatch):
    # tflite-runtime has no wheel for new Pythons: under its name stands LiteRT, whose interpreter has the same methods.
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '2.14.0'\n")
    (package / "interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("tflite_runtime", "tflite_runtime.interpreter"):  # gone again afterwards, for later tests
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    path = tiny_bundle / "model_int8.tflite"
    spec, image_u8 = read_embedded_spec(path).spec, np.full((32, 32), 90, np.uint8)
    found = open_engine(path, spec, "tflite-runtime", 1)
    assert (found.name, found.version, found.settings) == ("tflite-runtime", "2.14.0", {"threads": 1})
    assert found.run(image_u8)["probability"] == open_engine(path, spec, "litert").run(image_u8)["probability"]


@pytest.mark.parametrize("engine", INSTALLED)
def test_an_engine_that_fails_while_it_runs_is_a_model_error(tiny_bundle, engine):
    path = tiny_bundle / f"model_int8{engines.suffix_of(engine)}"
    opened = open_engine(path, read_embedded_spec(path).spec, engine)
    with pytest.raises(ModelError, match="cannot run it"):
        opened.run(np.zeros((40, 40), np.uint8))


def test_a_processor_that_is_not_known_gets_the_careful_setting(tiny_bundle, monkeypatch, tmp_path):
    from edge_runtime.engines import onnx_runtime

    path = tiny_bundle / "model_int8.onnx"
    spec = read_embedded_spec(path).spec
    monkeypatch.setattr(onnx_runtime, "_PROCESSOR", tmp_path / "absent")
    monkeypatch.setattr(onnx_runtime.platform, "machine", lambda: "x86_64")
    assert open_engine(path, spec, "onnxruntime").settings["session.x64quantprecision"] == "1"
    monkeypatch.setattr(onnx_runtime.platform, "machine", lambda: "aarch64")
    assert open_engine(path, spec, "onnxruntime").settings == {}
