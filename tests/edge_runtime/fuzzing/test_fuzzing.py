"""The fuzzers, for a few seconds; `make fuzz` runs them for minutes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.edge_runtime.fuzzing.workers import ROOT, Outcome, fuzz

IMAGES, MODELS = "tests.edge_runtime.fuzzing.images", "tests.edge_runtime.fuzzing.models"


def check(outcome: Outcome, count: int, done: str) -> None:
    assert outcome.failures == []
    assert sum(outcome.counts.values()) == count
    assert outcome.counts[done] and outcome.counts["refused"]  # neither all of them nor none


def test_some_hundred_image_files_raise_nothing_but_image_errors():
    check(fuzz(IMAGES, 300, 1, quiet=True), 300, "judged")


def test_some_dozen_models_raise_nothing_but_model_errors():
    pytest.importorskip("onnx")
    pytest.importorskip("flatbuffers")
    check(fuzz(MODELS, 40, 1, quiet=True), 40, "loaded")


@pytest.mark.slow
@pytest.mark.parametrize(("module", "count", "done"), [(IMAGES, 5000, "judged"), (MODELS, 500, "loaded")])
def test_thousands_of_cases(module, count, done):
    check(fuzz(module, count, 2, quiet=True), count, done)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ends with -11"),
        ("signal.alarm(1); time.sleep(9)", "hangs"),
        ("bytearray(MOST_BYTES)", "MB"),
    ],
)
def test_it_would_notice(tmp_path, monkeypatch, fault, says):
    code = "import os, signal, time\nMOST_BYTES = 200_000_000\ndef prepare(): return None\n"
    code += f"def try_case(shared, random_):\n    if random_.random() < 0.5:\n        {fault}\n    return 'refused'\n"
    (tmp_path / "faulty.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    outcome = fuzz("faulty", 6, 0, quiet=True)
    assert outcome.failures and all(says in failure for failure in outcome.failures)
    assert sum(outcome.counts.values()) == 6 and outcome.counts["refused"]


def test_the_command_says_what_it_found():
    command = [sys.executable, "-m", IMAGES, "--count", "20", "--seed", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("images: 20 cases in ") and "0 failures (seed 3)" in done.stdout
