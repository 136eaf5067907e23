"""A model that crashes, hangs or fills its engine does that to a child process, and is an error here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.bundle import ModelFile, open_model
from edge_runtime.engines import probe
from edge_runtime.engines.probe import probe_once
from edge_runtime.errors import ModelError
from edge_runtime.predictor import Predictor

ROOT = Path(__file__).parents[3]
FAULTS = {
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashes on it \(signal 11\)"),
    "ends the process": ("import os; os._exit(7)", r"crashes on it \(exit code 7\)"),
    "hangs": ("while True: pass", "many times the usual time"),
    "asks for all memory": ("x = bytearray(1 << 40)", "needs more memory"),
    "refuses": ("raise ValueError('bad model\\non two lines')", "cannot load it: bad model on two lines$"),
    "chatters": ("print('words of the engine'); raise RuntimeError('no')", "cannot load it: no$"),
}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Puts an engine with a fault in the place of LiteRT, in child processes alone; files of its runs are its own."""

    def make(fault: str) -> None:
        package = tmp_path / "packages" / "ai_edge_litert"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("__version__ = '0'\n")
        body = "class Interpreter:\n    def __init__(self, **settings):\n        " + fault.replace("\n", "\\n")
        (package / "interpreter.py").write_text(body + "\n")
        monkeypatch.setenv("PYTHONPATH", f"{package.parent}{os.pathsep}{ROOT}")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make


@pytest.fixture
def model(tiny_bundle) -> ModelFile:
    return open_model(tiny_bundle, "litert")


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_what_an_engine_does_to_its_process_is_a_model_error_here(engine, model, tmp_path, fault):
    body, says = FAULTS[fault]
    engine(body)
    with pytest.raises(ModelError, match=says) as caught:
        Predictor(model)
    assert str(model.path) in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*/probed/*"))


def test_a_model_is_probed_once_and_its_mark_is_of_these_very_bytes(engine, model, tmp_path, tiny_bundle):
    probe_once(model.content, model.fingerprint, model.path, model.spec, "litert")
    (mark,) = (tmp_path / "cache" / "fracture-edge" / "probed").iterdir()
    assert mark.stat().st_size == 0
    engine("raise ValueError('asked again')")
    probe_once(model.content, model.fingerprint, model.path, model.spec, "litert")  # which asks no engine
    with pytest.raises(ModelError, match="asked again"):
        probe_once(model.content, "another", model.path, model.spec, "litert")
    other = open_model(tiny_bundle / "model_float32.tflite")
    with pytest.raises(ModelError, match="asked again"):
        Predictor(other)


@pytest.mark.parametrize("home", ["no folder", "a file"])
def test_without_a_cache_it_is_probed_each_time(model, tmp_path, monkeypatch, home):
    (tmp_path / "file").touch()
    if home == "a file":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    probe_once(model.content, model.fingerprint, model.path, model.spec, "litert")
    assert (tmp_path / "file").read_bytes() == b""


def test_an_engine_whose_import_does_not_end_is_an_error(engine, model, tmp_path, monkeypatch):
    engine("pass")
    (tmp_path / "packages" / "ai_edge_litert" / "__init__.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr(probe, "_LONGEST_IMPORT_S", 2)
    with pytest.raises(ModelError, match="is not imported after 2 s"):
        probe_once(model.content, model.fingerprint, model.path, model.spec, "litert")


def test_a_package_that_is_broken_is_left_to_the_caller_who_knows_what_to_install(engine, model, tmp_path):
    engine("pass")
    (tmp_path / "packages" / "ai_edge_litert" / "__init__.py").write_text("import nothing_of_that_name")
    probe_once(model.content, model.fingerprint, model.path, model.spec, "litert")
