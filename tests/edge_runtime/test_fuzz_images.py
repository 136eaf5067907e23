"""The fuzzer of image files, for two seconds; `make fuzz` runs it for longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).with_name("fuzz_images.py")


def fuzz(keep: Path, *options: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", code] if code else [FUZZER]), "--keep", keep, *options]
    environment = os.environ | {"PYTHONPATH": f"{FUZZER.parents[2]}:{FUZZER.parent}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


def test_two_seconds_of_damaged_files_raise_nothing_but_image_errors(tmp_path):
    done = fuzz(tmp_path / "kept", "--seconds", "2", "--seed", "1")
    assert done.returncode == 0, done.stderr
    tried, read = (int(done.stdout.split()[place]) for place in (0, 3))
    assert tried > 50 and 0 < read < tried
    assert not (tmp_path / "kept").exists()


@pytest.mark.slow
def test_a_minute_of_damaged_files_raises_nothing_but_image_errors(tmp_path):
    assert fuzz(tmp_path / "kept", "--seconds", "60", "--seed", "2").returncode == 0


@pytest.mark.parametrize("fault", ["raise KeyError('x')", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_it_would_notice(tmp_path, fault):
    # The fuzzer's own child with a decoder that has a fault.
    code = (
        "import os, signal, sys, fuzz_images\n"
        f"def faulty(content, least_side):\n    {fault}\n"
        "fuzz_images.read_grey = faulty\n"
        f"fuzz_images.__file__ = {str(tmp_path / 'child.py')!r}\n"
        "fuzz_images.main()"
    )
    (tmp_path / "child.py").write_text(code)
    done = fuzz(tmp_path / "kept", "--seconds", "0.5", code=code)
    assert done.returncode == 1 and "FAILED" in done.stderr
    assert all(path.stat().st_size for path in (tmp_path / "kept").iterdir())
