"""Fixtures of more than one folder of tests: a bundle small enough to be committed, and edge-infer as a process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
TINY_BUNDLE = ROOT / "tests" / "edge_runtime" / "golden" / "tiny_bundle"

Process = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A committed bundle of 32 x 32 pixels with all four model files; not to be written to."""
    return TINY_BUNDLE


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """The same bundle in a folder of the test's own."""
    return Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def golden_images() -> list[Path]:
    """The images inside the tiny bundle."""
    return sorted((TINY_BUNDLE / "golden").glob("*.png"))


@pytest.fixture(scope="session")
def radiograph_u8() -> NDArray[np.uint8]:
    """uint8 (120, 96), smooth structure with some noise, over the whole range of grey."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:120, 0:96]
    waves = 128 + 70 * np.sin(x / 11) * np.cos(y / 17) + 50 * np.sin((x + y) / 29)
    image = np.clip(np.rint(waves + rng.normal(0, 3, waves.shape)), 0, 255).astype(np.uint8)
    image[0, :2] = 0, 255
    return image


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder by its name, filled by the first of the processes side by side that needs it; not to be written to."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        target, draft = shared / name, shared / f"{name}.draft"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                shutil.rmtree(draft, ignore_errors=True)  # of one that could not be filled
                draft.mkdir()
                fill(draft)
                draft.rename(target)
        return target

    return folder


@pytest.fixture(scope="session")
def require_schema() -> Callable[[str, Any], None]:
    """Fails where a record is not as docs/schemas has it; the name is that of the file without its end."""

    def require(name: str, record: Any) -> None:
        from jsonschema import Draft202012Validator

        schema = json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_bytes())
        faults = Draft202012Validator(schema).iter_errors(record)
        assert [f"{fault.json_path}: {fault.message[:200]}" for fault in faults] == []

    return require


@pytest.fixture(scope="session")
def edge_infer_process() -> Process:
    """Runs edge-infer in a process of its own; `before` is Python that runs first, `python` another interpreter."""

    def run(
        *arguments: str | bytes | Path, before: str = "", python: str | Path = sys.executable, **options
    ) -> subprocess.CompletedProcess[bytes]:
        code = f"import sys\n{before}\nfrom edge_runtime.cli import main\nmain(prog_name='edge-infer')"
        environment = {name: value for name, value in os.environ.items() if name != "EDGE_MODEL"}
        environment |= {"PYTHONPATH": str(ROOT), **options.pop("env", {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, "check": False} | options
        return subprocess.run([python, "-c", code, *arguments], env=environment, **options)

    return run


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands keep between runs goes into a folder of this run, for child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
