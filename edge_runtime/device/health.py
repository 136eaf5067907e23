"""Does a release answer? Asked before it is put in use, and again through the commands that people and services use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edge_runtime.device.releases import Release
from edge_runtime.errors import GateError

_PATIENCE_S = 600.0  # of a Raspberry Pi with every golden image of a large network
_TOLD = 2000  # characters of what a failing command said


def require_passing(release: Release) -> None:
    """The self-test of a release that need not be in use, by its own interpreter.

    Raises:
        GateError: it fails.
    """
    engine = release.settings.get("engine", "auto")
    options = ("--model", str(release.bundle), "--self-test", "--engine", engine)
    _require(release.program("edge-infer"), options, f"{release.folder.name}: its self-test failed")


def require_answering(prefix: Path) -> None:
    """One image through the command of the release in use.

    Raises:
        GateError: it gets no answer.
    """
    bundle = prefix / "current" / "bundle"
    images = sorted((bundle / "golden").glob("*.png"))
    if not images:
        raise GateError(f"{bundle}: has no golden images, by which a release is tried")
    options = ("--model", str(bundle), "--json", str(images[0]))
    _require(prefix / "bin" / "edge-infer", options, "the release in use gives no answer")


def _require(program: Path, options: tuple[str, ...], message: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            [str(program), *options], env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GateError(f"{message}: {error}") from error
    if done.returncode:
        raise GateError(f"{message}: {(done.stderr or done.stdout).strip()[-_TOLD:]}")
