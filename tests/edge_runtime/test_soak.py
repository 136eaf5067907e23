"""The watcher over many images, as `make soak` runs it: its memory does not grow, and every image has its line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("images", "restarts"), [(300, 1), pytest.param(10_000, 0, marks=pytest.mark.slow)], ids=["300", "10000"]
)
def test_the_watcher_takes_no_more_memory_for_many_images(tiny_bundle, repository, tmp_path, images, restarts):
    command = [sys.executable, "-m", "benchmarks.soak", "--model", tiny_bundle, "--out", tmp_path / "figures.json"]
    command += ["--images", str(images), "--restarts", str(restarts)]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["lines"] == figures["files with a line"] == images + 1
    assert figures["growth, MB"] <= 2
