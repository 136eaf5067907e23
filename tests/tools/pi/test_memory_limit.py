"""The memory limit bites: a process within it lives, one beyond it is killed."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tools.pi.memory_limit import LimitNotToBeHad, MemoryLimit


def run_with(megabytes_limit: int, megabytes_used: int) -> tuple[int, float]:
    """(exit code, highest use) of a process that fills so much memory."""
    try:
        limit = MemoryLimit(megabytes_limit)
    except LimitNotToBeHad as error:
        pytest.skip(f"memory cannot be limited here: {error}")
    with limit:
        code = f"held = bytearray(b'1') * ({megabytes_used} << 20)"
        done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit.join(), check=False)
        return done.returncode, limit.peak_mb


def test_a_process_within_the_limit_lives():
    code, peak_mb = run_with(200, 100)
    assert code == 0 and 100 < peak_mb < 210


def test_a_process_beyond_the_limit_is_killed():
    assert run_with(100, 200)[0] == -signal.SIGKILL
