"""make pi where it can be run, in its short form, and where it cannot: it says why, and fails nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def prove(repository: Path, folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it in a folder, where it leaves pi.json."""
    command = [sys.executable, "-m", "tools.pi.proof", *map(str, arguments)]
    facts = os.environ | {"PYTHONPATH": str(repository)} | environment
    return subprocess.run(command, cwd=folder, env=facts, capture_output=True, text=True, check=False)


def test_without_debians_tools_it_is_skipped_and_says_why(repository, tiny_bundle, tmp_path):
    done = prove(repository, tmp_path, "--short", tiny_bundle, PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "SKIPPED because apt-get and dpkg-deb, which fetch the emulator, are not on this machine" in done.stdout
    assert json.loads((tmp_path / "pi.json").read_text()) == []


@pytest.mark.slow
def test_a_package_installs_and_answers_on_an_emulated_cortex_a53(repository, tiny_bundle, tmp_path):
    done = prove(repository, tmp_path, "--short", tiny_bundle)
    if "SKIPPED because" in done.stdout:
        pytest.skip(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "pi.json").read_text())
    assert {row["file"]: row["passed"] for row in rows} == {"model_int8.tflite": True, "model_float32.tflite": True}
    assert "image files judged within 512 MB" in done.stderr
    assert "edge-serve on cortex-a53: ready after" in done.stderr  # one image by the page's API, one by C-STORE
