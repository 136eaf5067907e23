"""What is said when wheels are missing, and that a folder of wheels needs no network."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

from edge_runtime.errors import DataError, DependencyError, StorageError
from export.package.pins import pinned_versions
from export.package.target import machine_for
from export.package.wheelhouse import gather_wheels
from tools.wheel_lock import TARGET, make_table


def test_a_folder_of_wheels_needs_no_network(machine, wheels, no_network, tmp_path, caplog):
    caplog.set_level("INFO", "export")
    found = gather_wheels(machine, tmp_path, wheels)
    assert [path.name for path in found] == sorted(path.name for path in wheels.iterdir())
    assert not caplog.messages


def test_a_doctored_wheel_is_refused_wherever_it_came_from(machine, wheels, tmp_path):
    doctored = shutil.copytree(wheels, tmp_path / "doctored")
    (click,) = doctored.glob("click-*")
    with zipfile.ZipFile(click, "a") as archive:
        archive.writestr("click/backdoor.py", "")
    (tmp_path / "found").mkdir()
    with pytest.raises(DataError, match="click-.*SHA-256 is not one that the lock file lists"):
        gather_wheels(machine, tmp_path / "found", doctored)


def test_the_table_of_wheels_is_that_of_the_lock_files():
    assert json.loads(TARGET.read_text()) == make_table()


def test_every_wheel_that_a_folder_lacks_is_named_with_the_command_that_fetches_it(machine, wheels, tmp_path):
    some = shutil.copytree(wheels, tmp_path / "some")
    for path in [*some.glob("numpy-*"), *some.glob("pillow-*")]:
        path.unlink()
    (tmp_path / "found").mkdir()
    with pytest.raises(DependencyError) as caught:
        gather_wheels(machine, tmp_path / "found", some)
    message, command = str(caught.value).splitlines()
    assert f"missing: numpy=={pinned_versions(machine)['numpy']} (available there: none), pillow==" in message
    assert "click" not in message
    assert command.startswith("fetch them with: python -m pip download") and f"--dest {some} numpy==" in command


def test_wheels_of_another_machine_do_not_count(wheels, tmp_path):
    with pytest.raises(DependencyError, match="missing: ai-edge-litert.*numpy.*pillow"):
        gather_wheels(machine_for("aarch64", "3.13", "litert"), tmp_path, wheels)


def test_a_network_that_is_down_is_not_taken_for_missing_wheels(machine, no_network, tmp_path, caplog):
    caplog.set_level("INFO", "export")
    with pytest.raises(StorageError, match="pip reaches no package index"):
        gather_wheels(machine, tmp_path, None)
    assert "needs a network" in caplog.messages[0]


def test_32_bit_arm_is_told_how_to_come_by_pillow(no_network, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DependencyError, match="make armhf-wheels"):
        gather_wheels(machine_for("armv7l", "3.11", None), tmp_path, empty)
