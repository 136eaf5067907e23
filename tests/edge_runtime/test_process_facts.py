"""What the kernel tells of a process and of a Raspberry Pi."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime import process_facts

ROOT = Path(__file__).parents[2]


def in_a_new_process(code: str) -> float:
    command = [sys.executable, "-c", f"from edge_runtime.process_facts import *; {code}"]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout)


def test_the_age_of_a_process_counts_from_its_start():
    before = time.monotonic()
    age = in_a_new_process("time.sleep(0.5); print(seconds_since_start())")
    assert 0.48 <= age <= time.monotonic() - before + 0.05  # the kernel counts in 10 ms


def test_the_peak_grows_with_what_was_used_and_stays():
    code = "a = peak_memory_bytes(); b = b'x' * 50_000_000; del b; print(peak_memory_bytes() - a)"
    assert 45e6 < in_a_new_process(code) < 60e6


def test_the_peak_is_not_that_of_the_parent():
    ballast = b"x" * 100_000_000
    assert in_a_new_process("print(peak_memory_bytes())") < len(ballast)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


ZONE = "sys/class/thermal/thermal_zone"


@pytest.mark.parametrize(
    ("files", "celsius"),
    [
        ({f"{ZONE}0/type": "cpu-thermal\n", f"{ZONE}0/temp": "47236\n"}, 47.236),
        (
            {
                f"{ZONE}0/type": "acpitz",
                f"{ZONE}0/temp": "1",
                f"{ZONE}1/type": "x86_pkg_temp",
                f"{ZONE}1/temp": "61000",
            },
            61.0,
        ),
        ({f"{ZONE}0/type": "battery", f"{ZONE}0/temp": "30000"}, None),
        ({f"{ZONE}0/type": "cpu-thermal"}, None),
        ({}, None),
    ],
)
def test_the_temperature_is_that_of_the_processor(tmp_path, files, celsius):
    assert process_facts.temperature_celsius(write(tmp_path, files)) == celsius


@pytest.mark.parametrize("soc", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("0\n", []),
        ("50005\n", ["under-voltage now", "throttled now", "under-voltage since start", "throttled since start"]),
        ("80000\n", ["soft temperature limit since start"]),
    ],
)
def test_throttling_is_told_in_words(tmp_path, soc, text, meaning):
    root = write(tmp_path, {f"sys/devices/platform/{soc}/get_throttled": text})
    assert process_facts.throttling(root) == meaning


def test_other_machines_tell_nothing_of_throttling(tmp_path):
    assert process_facts.throttling(tmp_path) is None
