"""Which machines a package can be made for, and how the others are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_runtime.errors import DataError
from export.package.pins import pinned_versions
from export.package.target import SYSTEMS, TARGETS, machine_for, machines_for, told


def combinations():
    for target in TARGETS.values():
        for engine in target.engines:
            for python in SYSTEMS:
                if engine != "tflite-runtime" or python == "3.11":
                    yield target.name, python, engine


def test_the_best_engine_of_a_target_is_its_default():
    assert machine_for("aarch64", "3.13", None).engine == "litert"
    assert machine_for("armv7l", "3.11", None).engine == "tflite-runtime"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("aarch64", [], None), "aarch64, Python 3.13, litert"),
        (("armv7l", [], None), "armv7l, Python 3.11, tflite-runtime"),
        (("aarch64", [], "tflite-runtime"), "aarch64, Python 3.11, tflite-runtime"),
        (("aarch64", ["3.13", "3.11", "3.13"], None), "aarch64, Python 3.11 and 3.13, litert"),
    ],
)
def test_a_package_is_for_a_fresh_raspberry_pi_or_for_every_python_that_is_named(arguments, expected):
    assert told(machines_for(*arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("armv7l", "3.11", "litert"), "litert does not exist for armv7l, only tflite-runtime"),
        (("armv7l", "3.13", None), "32-bit systems of later versions have no engine"),
        (("aarch64", "3.13", "tflite-runtime"), "give --python 3.11, or --engine litert"),
    ],
)
def test_a_combination_that_does_not_exist_is_refused_with_a_way_out(arguments, message):
    with pytest.raises(DataError, match=re.escape(message)):
        machine_for(*arguments)


@pytest.mark.parametrize("combination", list(combinations()), ids="-".join)
def test_a_device_gets_the_versions_of_the_lock_files(repository: Path, combination):
    lock = (repository / "requirements.lock").read_text() + (repository / "requirements-tflite.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==([^ ]+)", lock, re.MULTILINE))
    pins = pinned_versions(machine_for(*combination))
    pins.pop("pip")  # not in a lock: it comes with Python, not with this project
    assert not set(pins.items()) - locked


def test_32_bit_arm_takes_numpy_from_its_system():
    assert "numpy" not in pinned_versions(machine_for("armv7l", "3.11", None))
