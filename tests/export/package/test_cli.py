"""edge-export --package as a command: what it refuses, with which exit code, and that nothing is left behind then."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from export.cli import main
from export.package.pins import pinned_versions

USAGE, MODEL, MISSING, STORAGE = 2, 3, 5, 6  # exit codes


@pytest.fixture
def package(tiny_bundle, tmp_path):
    """edge-export of the tiny bundle into `pi.zip`, with further arguments."""

    def run(*arguments: object, source: Path = tiny_bundle):
        given = (source, "--package", tmp_path / "pi.zip", *arguments)
        return CliRunner().invoke(main, [str(argument) for argument in given])

    return run


@pytest.fixture
def nothing_written(tmp_path):
    """Sees to it that a refused package leaves no file behind."""
    before = set(tmp_path.iterdir())
    yield
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "wheels", tmp_path / "bundle"}


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "riscv64"), "'riscv64' is not one of 'aarch64', 'armv7l', 'x86_64'"),
        (("--python", "3.9"), "'3.9' is not one of '3.11', '3.12', '3.13', '3.14'"),
        (("--engine", "torch"), "'torch' is not one of"),
        (("--engine", "tflite-runtime", "--python", "3.13"), "exists for Python 3.11 alone, not 3.13"),
        (("--target", "armv7l", "--python", "3.13"), "32-bit systems of later versions have no engine"),
        (("--target", "armv7l", "--engine", "onnxruntime"), "onnxruntime does not exist for armv7l"),
        (("--wheels", "nowhere"), "--wheels nowhere: no such folder"),
        (("--int8",), "--int8: the source is a bundle, which is packaged as it is"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_made_is_refused_with_what_can(package, arguments, message):
    done = package(*arguments)
    assert (done.exit_code, done.stdout) == (USAGE, "")
    assert message in done.stderr


def test_an_archive_of_another_kind_is_refused(tiny_bundle, tmp_path):
    done = CliRunner().invoke(main, [str(tiny_bundle), "--package", str(tmp_path / "pi.tar.gz")])
    assert done.exit_code == USAGE and "a file ending in .zip or .deb was expected" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--target=aarch64", "--python=3.13", "--engine=litert", "--wheels=folder"])
def test_options_of_a_package_without_one_are_refused(tiny_bundle, option):
    done = CliRunner().invoke(main, [str(tiny_bundle), option])
    assert done.exit_code == USAGE and f"{option.split('=')[0]}: only for a package" in done.stderr


@pytest.mark.usefixtures("nothing_written")
def test_a_folder_that_lacks_a_wheel_is_refused_with_the_wheel_and_the_command(package, machine, wheels, tmp_path):
    some = shutil.copytree(wheels, tmp_path / "wheels", ignore=shutil.ignore_patterns("pillow-*"))
    done = package("--target", machine.target.name, "--python", machine.python, "--wheels", some)
    assert (done.exit_code, done.stdout) == (MISSING, "")
    assert f"missing: pillow=={pinned_versions(machine)['pillow']}" in done.stderr
    assert "fetch them with: python -m pip download" in done.stderr


@pytest.mark.usefixtures("nothing_written", "no_network")
def test_without_a_network_it_says_so_and_names_the_way_without(package):
    done = package()
    assert (done.exit_code, done.stdout) == (STORAGE, "")
    assert "needs a network; --wheels DIR does not" in done.stderr
    assert "pip reaches no package index" in done.stderr


@pytest.mark.usefixtures("nothing_written")
def test_an_altered_bundle_is_not_packaged(package, machine, wheels, bundle_copy):
    (bundle_copy / "model_int8.tflite").write_bytes(b"altered")
    given = ("--target", machine.target.name, "--python", machine.python, "--wheels", wheels)
    done = package(*given, source=bundle_copy)
    assert done.exit_code == MODEL and "altered" in done.stderr


@pytest.mark.usefixtures("no_network")
def test_a_package_for_several_pythons_says_which_of_them_lacks_a_wheel(package, machine, wheels):
    other = "3.12" if machine.python == "3.13" else "3.13"
    done = package("--target", machine.target.name, "--python", machine.python, "--python", other, "--wheels", wheels)
    assert done.exit_code == MISSING and f"not all wheels that {machine.target.name}, Python {other}" in done.stderr


@pytest.mark.usefixtures("no_network")
@pytest.mark.slow  # its quick twin: a folder of wheels, in test_wheelhouse.py
def test_with_a_folder_of_wheels_no_network_is_needed(package, machine, wheels, tmp_path):
    done = package("--target", machine.target.name, "--python", machine.python, "--wheels", wheels)
    assert done.exit_code == 0, done.stderr
    assert f"package: {tmp_path / 'pi.zip'}" in done.stdout and "model_int8.tflite" in done.stdout
    assert zipfile.ZipFile(tmp_path / "pi.zip").testzip() is None
