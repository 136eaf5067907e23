"""Builds both wheels and proves them in an empty environment: `make release`. Leaves them and their hashes in dist/."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_runtime import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"

_BUNDLE = ROOT / "tests" / "edge_runtime" / "golden" / "tiny_bundle"  # small, and made by edge-export


def main() -> int:
    """Exit code: 1 where the tree or the change log is not ready."""
    faults = find_faults()
    if faults:
        print("\n".join(f"not released: {fault}" for fault in faults), file=sys.stderr)
        return 1
    shutil.rmtree(DIST, ignore_errors=True)
    wheels = [build(ROOT / "edge_runtime"), build(ROOT)]
    prove(wheels)
    for wheel in wheels:
        print(f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.relative_to(ROOT)}")
    return 0


def find_faults() -> list[str]:
    """What stands in the way of a release, a sentence each."""
    faults = []
    if subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True).stdout:
        faults.append("the working tree has changes that are not committed")
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", log, re.MULTILINE):
        faults.append(f"CHANGELOG.md has no section `## [{__version__}] - YYYY-MM-DD`")
    return faults


def build(project: Path) -> Path:
    """The wheel of a project, in dist/."""
    # A copy: setuptools leaves build/ and *.egg-info beside the sources, and would pack what an earlier build left.
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(
            project,
            Path(folder, project.name),
            ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "demo"),
        )
        before = set(DIST.glob("*.whl"))
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(DIST), str(copy)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = set(DIST.glob("*.whl")) - before
    return wheel


def prove(wheels: list[Path]) -> None:
    """Installs the runtime's wheel with its engine into an empty environment, and judges images there.

    Raises:
        CalledProcessError: it does not install, or does not answer as the exporting machine did.
    """
    runtime = wheels[0]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        binaries = Path(folder, "bin")
        subprocess.run([binaries / "pip", "install", "--quiet", f"{runtime}[litert]"], check=True)
        infer = [binaries / "edge-infer", "--model", _BUNDLE]
        subprocess.run([*infer, "--engine", "litert", "--self-test"], check=True, cwd=folder)
        subprocess.run([*infer, *sorted((_BUNDLE / "golden").glob("*.png"))], check=True, cwd=folder)


if __name__ == "__main__":
    sys.exit(main())
