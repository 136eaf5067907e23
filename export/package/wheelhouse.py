"""Finds the wheels for another machine: in a folder, or through pip, which knows which tags fit which machine."""

from __future__ import annotations

import importlib.util
import logging
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DependencyError, StorageError
from export.package.pins import pinned_versions, require_locked
from export.package.target import Machine

# What pip says of a requirement that nothing fits; the versions are those that do fit the machine.
_AVAILABLE = re.compile(r"\(from versions: (.*?)\)")
_NO_SUCH_WHEEL = re.compile(r"No matching distribution found for (\S+)")
# Where it reaches no index pip says so when it tries again, and then the same as of a wheel that does not exist.
_NO_INDEX = "connection broken by"
_NO_ARMHF_PILLOW = (
    "no release of Pillow from 12 on has a wheel for 32-bit ARM (looked for: manylinux and linux_armv7l wheels, Python "
    "3.11), and Debian's 9.4 has critical bugs in its JPEG decoder: build one with `make armhf-wheels`, which compiles "
    "Pillow under emulation, and give --wheels with the folder that it names"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Missing:
    """A wheel that was not found."""

    requirement: str  # such as `numpy==2.4.6`
    available: str  # versions that exist for the machine, or `none`

    def __str__(self) -> str:
        return f"{self.requirement} (available there: {self.available})"


def gather_wheels(machine: Machine, folder: Path, wheels: Path | None, signed: bool = False) -> list[Path]:
    """The wheels for a machine, in a folder.

    Args:
        machine: what they are for.
        folder: where they are put.
        wheels: folder that has them; None downloads them.
        signed: whether the device is to check signatures.

    Raises:
        DependencyError: a wheel does not exist for that machine, or is not in `wheels`; all missing ones are named.
        StorageError: the download failed.
        DataError: a wheel is not one that the lock file lists.
    """
    if importlib.util.find_spec("pip") is None:
        raise DependencyError(f"pip is needed to find wheels for another machine: {sys.executable} -m ensurepip")
    pins = pinned_versions(machine, signed)
    if wheels is None:
        log.info("downloading %d wheels for %s (needs a network; --wheels DIR does not)", len(pins), machine)
    missing = _fetch_all(pins, machine, folder, wheels)
    if missing:
        raise DependencyError(_explain(missing, machine, wheels))
    found = sorted(folder.glob("*.whl"))
    for name in require_locked(machine, found):
        log.info("%s was compiled here: no lock file knows its SHA-256, and the package takes it as it is", name)
    return found


def _fetch(
    pins: Mapping[str, str], machine: Machine, folder: Path, wheels: Path | None
) -> subprocess.CompletedProcess[str]:
    requirements = [f"{name}=={version}" for name, version in pins.items()]
    command = [sys.executable, "-m", *_download_command(machine), "--dest", str(folder)]
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    return subprocess.run([*command, *source, *requirements], capture_output=True, text=True, check=False)


def _download_command(machine: Machine) -> list[str]:
    """Arguments of pip for wheels of another machine. Nothing is built: a source archive may fetch what it likes."""
    tag = machine.python.replace(".", "")
    platforms = [argument for platform in machine.target.platforms for argument in ("--platform", platform)]
    abis = [argument for abi in (f"cp{tag}", "abi3", "none") for argument in ("--abi", abi)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    python = ["--python-version", tag, "--implementation", "cp"]
    return ["pip", "download", *quiet, "--only-binary=:all:", "--no-deps", *python, *platforms, *abis]


def _fetch_all(pins: Mapping[str, str], machine: Machine, folder: Path, wheels: Path | None) -> list[_Missing]:
    """The wheels that were not found; all others are there then.

    Raises:
        StorageError: pip could not tell.
    """
    missing, left = [], dict(pins)
    # pip stops at the first that is missing, and names it: it is asked again for the others.
    while left and (done := _fetch(left, machine, folder, wheels)).returncode:
        named = _NO_SUCH_WHEEL.search(done.stderr)
        if _NO_INDEX in done.stderr:
            raise StorageError(
                f"{named[1] if named else machine}: pip reaches no package index; --wheels DIR needs none"
            )
        if named is None or left.pop(named[1].partition("==")[0], None) is None:
            raise StorageError(f"the wheels could not be downloaded: {_last_line(done.stderr)}")
        available = _AVAILABLE.search(done.stderr)
        missing.append(_Missing(named[1], available[1] if available else "none"))
    return missing


def _explain(missing: list[_Missing], machine: Machine, wheels: Path | None) -> str:
    where = "exist" if wheels is None else f"are in {wheels}"
    message = f"not all wheels that {machine} needs {where}; missing: {', '.join(map(str, missing))}"
    if machine.target.system_numpy:
        return f"{message}\n{_NO_ARMHF_PILLOW}"
    if wheels is None:
        return message
    command = " ".join(["python", "-m", *_download_command(machine), "--dest", str(wheels)])
    return f"{message}\nfetch them with: {command} {' '.join(entry.requirement for entry in missing)}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pip says nothing"])[-1]
