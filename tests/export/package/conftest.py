"""Packages of the tiny bundle for this very machine, so that their installer runs here as it would there."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime.errors import StorageError
from export.package.packager import PackageRequest, collected_wheels, write_package
from export.package.pins import pinned_versions
from export.package.target import SYSTEMS, TARGETS, Machine, machine_for
from export.package.wheelhouse import gather_wheels

# Whatever this machine's pip is set to, it finds nothing and reaches nothing.
_UNREACHABLE = {
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
}
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def run_privately(script: str, environment: dict[str, str], cwd: Path | None = None) -> str:
    """What a shell script of root prints, whose mounts nobody else sees; skips where none can be made (code 77)."""
    command = ["unshare", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if "unshare:" in done.stderr or done.returncode == 77:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Install:
    """An unpacked package and the prefix that it is installed into."""

    package: Path  # folder with install.sh
    prefix: Path  # may hold what earlier installations left

    def run(self, *arguments: str, shell: str = "sh", **options) -> subprocess.CompletedProcess[str]:
        """Runs install.sh as a user would."""
        command = [shell, self.package / "install.sh", "--prefix", self.prefix, "--python", sys.executable, *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGE_MODEL")}
        environment |= options.pop("env", {})
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)

    def self_test(self) -> subprocess.CompletedProcess[str]:
        """What the version that is installed now says of itself."""
        command = [self.prefix / "bin" / "edge-infer", "--self-test"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @property
    def current(self) -> Path | None:
        """The release that is installed now."""
        link = self.prefix / "current"
        return link.resolve() if link.is_symlink() else None

    @property
    def releases(self) -> set[str]:
        """Names of all releases, finished or not."""
        return {path.name for path in (self.prefix / "releases").glob("*")}


@pytest.fixture(scope="session")
def machine() -> Machine:
    """This machine, with LiteRT."""
    if platform.machine() not in TARGETS or _PYTHON not in SYSTEMS:
        pytest.skip(f"no packages are made for {platform.machine()}, Python {_PYTHON}")
    return machine_for(platform.machine(), _PYTHON, "litert")


@pytest.fixture(scope="session")
def wheels(machine, made_once) -> Path:
    """Every wheel that a package for this machine needs, downloaded once."""
    try:
        folder = made_once("wheels", lambda draft: gather_wheels(machine, draft, None))
    except StorageError as error:
        pytest.skip(f"the wheels of a package cannot be downloaded: {error}")
    assert len(list(folder.iterdir())) == len(pinned_versions(machine))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    """pip reaches no package index."""
    for name, value in _UNREACHABLE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def make_package(machine, wheels, tiny_bundle, made_once) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        def fill(folder: Path) -> None:
            request = PackageRequest(folder / f"{name}.zip", (machine,), wheels)
            with collected_wheels(request) as collected:
                write_package(request, tiny_bundle, collected)

        return made_once(f"package-{name}", fill) / f"{name}.zip"

    return make


@pytest.fixture(scope="session")
def archive(make_package) -> Path:
    """A package of the tiny bundle; not to be written to."""
    return make_package("first")


@pytest.fixture(scope="session")
def newer_archive(make_package) -> Path:
    """Another package of it, which differs in its README alone."""
    return make_package("second")


@pytest.fixture
def install(archive, tmp_path) -> Install:
    return Install(unpack(archive, tmp_path), tmp_path / "prefix")


@pytest.fixture
def newer(newer_archive, tmp_path) -> Install:
    return Install(unpack(newer_archive, tmp_path), tmp_path / "prefix")


def unpack(archive: Path, folder: Path) -> Path:
    """The folder that an archive holds, unpacked."""
    with zipfile.ZipFile(archive) as stream:
        stream.extractall(folder)
    return folder / archive.stem
