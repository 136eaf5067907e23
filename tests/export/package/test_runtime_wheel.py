"""The runtime's wheel is the same whether it is built from its sources or packed again from an installation."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distributions

import pytest

from export.package.runtime_wheel import DISTRIBUTION, _pack_again, make_runtime_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_runtime_wheel(tmp_path_factory.mktemp("built"))


def contents(wheel) -> dict[str, bytes]:
    archive = zipfile.ZipFile(wheel)
    return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def test_the_same_sources_make_the_same_bytes_and_leave_nothing_beside_them(built, repository, tmp_path):
    before = sorted((repository / "edge_runtime").iterdir())
    assert make_runtime_wheel(tmp_path).read_bytes() == built.read_bytes()
    assert sorted((repository / "edge_runtime").iterdir()) == before


def test_a_wheel_packed_again_from_an_installation_is_the_wheel_that_was_installed(built, tmp_path):
    target = tmp_path / "installed"
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(built)], check=True)
    (installed,) = distributions(name=DISTRIBUTION, path=[str(target)])
    again = _pack_again(installed, tmp_path)
    assert again.name == built.name
    original, packed = contents(built), contents(again)
    record = next(name for name in original if name.endswith("/RECORD"))
    assert sorted(original.pop(record).splitlines()) == sorted(packed.pop(record).splitlines())
    assert packed == original
