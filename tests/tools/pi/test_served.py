"""What `make pi` runs on the device, here: edge-serve answers by page and C-STORE on a network of its own, and ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime import Predictor
from tools.pi.device import write_instance


def test_the_script_of_the_device_starts_asks_and_stops(tiny_bundle, golden_images, repository, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("unshare, which gives a process a network of its own, is not on this machine")
    program = tmp_path / "bin" / "edge-serve"
    program.parent.mkdir()
    served = f'exec "{sys.executable}" -m edge_runtime.serving.cli --model "{tiny_bundle}" "$@"'
    program.write_text(f"#!/bin/sh\n{served}\n")
    program.chmod(0o755)
    image, instance = golden_images[0], tmp_path / "instance.dcm"
    write_instance(image, instance)
    script = repository / "tools" / "pi" / "served.py"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, script, tmp_path, image, instance],
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"no network of its own here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found, expected = json.loads(done.stdout), Predictor(Path(tiny_bundle)).predict(image)
    for way in ("page", "dicom"):
        assert (found[way]["decision"], found[way]["probability"]) == (expected.decision, expected.probability)
    assert found["code"] == 0
