"""The runtime's wheel, from its sources where they are at hand, else from the files that its own wheel installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import edge_runtime
from edge_runtime.errors import DependencyError, StorageError

DISTRIBUTION = "fracture-edge-runtime"

_SOURCES = Path(edge_runtime.__file__).parent
_NOT_SOURCES = shutil.ignore_patterns("__pycache__", "build", "dist", "*.egg-info")
# Written by whatever installed a wheel; not part of it.
_OF_INSTALLATION = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json"})
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the same files make the same wheel
_SOURCE_DATE_EPOCH = "315532800"  # the same moment, for setuptools


def make_runtime_wheel(folder: Path) -> Path:
    """The wheel of the runtime that is imported here, written to a folder. Nothing is downloaded.

    Raises:
        DependencyError: setuptools is needed and missing.
        StorageError: the wheel could not be built.
    """
    if (_SOURCES / "pyproject.toml").is_file():
        return _build(folder)
    return _pack_again(distribution(DISTRIBUTION), folder)


def _build(folder: Path) -> Path:
    if importlib.util.find_spec("setuptools") is None:
        raise DependencyError(
            f'setuptools is needed to build the runtime: {sys.executable} -m pip install "setuptools>=80"'
        )
    with tempfile.TemporaryDirectory() as work:  # a build leaves files beside the sources
        copy = Path(work) / "edge_runtime"
        shutil.copytree(_SOURCES, copy, ignore=_NOT_SOURCES)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(copy)],
            env=os.environ | {"SOURCE_DATE_EPOCH": _SOURCE_DATE_EPOCH},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise StorageError(f"{_SOURCES}: its wheel could not be built: {done.stderr.strip()}")
    (wheel,) = folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl")
    return wheel


def _pack_again(installed: Distribution, folder: Path) -> Path:
    """The wheel that was installed, as it was: its files are on the disk, and RECORD follows from them."""
    name = DISTRIBUTION.replace("-", "_")
    contents = {
        path.as_posix(): Path(path.locate()).read_bytes()
        for path in installed.files or ()
        if path.parts[0] in ("edge_runtime", f"{name}-{installed.version}.dist-info")
        and path.name not in _OF_INSTALLATION
        and path.suffix != ".pyc"
    }
    record = f"{name}-{installed.version}.dist-info/RECORD"
    contents[record] = _record_of(contents, record)
    wheel = folder / f"{name}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            archive.writestr(zipfile.ZipInfo(path, _TIMESTAMP), content, zipfile.ZIP_DEFLATED)
    return wheel


def _record_of(contents: dict[str, bytes], record: str) -> bytes:
    """RECORD of a wheel, as the specification "Recording installed projects" (PEP 376, PEP 427) has it."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow([path, f"sha256={digest}", len(content)])
    writer.writerow([record, "", ""])
    return lines.getvalue().encode()
