"""Strikes install.sh at every program that changes the disk: `mkdir`, `mv`, `ln`, `cp`, `rm`, `chmod`, `sync`.

Programs of these names stand before the system's in PATH; each counts, and the chosen one is not carried out: the
whole process group is killed there, or the program says that the disk is full. The package is small and its Python is a
script: what pip and an engine do has its own tests, and what is looked at here is what install.sh leaves.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "export" / "package" / "files"
COMMANDS = ("edge-infer", "edge-device", "edge-serve")
PROGRAMS = ("mkdir", "mv", "ln", "cp", "rm", "chmod", "sync")
KILL, FULL = "kill", "full"
DISK = 6  # exit code of install.sh

_STRIKING = """#!/bin/sh
number=$(($(cat "$COUNT") + 1))
echo "$number" >"$COUNT"
if [ "$number" -eq "$STRIKE" ]; then
    [ "$KIND" = full ] || kill -KILL 0
    echo "{name}: No space left on device" >&2
    exit 1
fi
exec {program} "$@"
"""
# All that install.sh asks of a Python: version, machine, a virtual environment, and pip inside it.
_PYTHON = """#!/bin/sh
case "$*" in
*version_info*) echo 3.11 ;;
*platform.machine*) echo {machine} ;;
*sysconfig*) echo "$(dirname "$0")/../lib" ;;
*-m\\ venv*)
    for last; do :; done
    /bin/mkdir -p "$last/bin" "$last/lib" && /bin/cp "$0" "$last/bin/python" ;;
*install*) printf '#!/bin/sh\\ntest -f "$2/whole" && cat "$2/name"\\n' >"$(dirname "$0")/edge-infer" &&
    /bin/chmod 755 "$(dirname "$0")/edge-infer" ;;
esac
"""


class Installation:
    """Two packages, an earlier and a newer one, and a prefix."""

    def __init__(self, work: Path) -> None:
        self.prefix, self._work = work / "prefix", work
        (work / "bin").mkdir()
        for name in PROGRAMS:
            _program(work / "bin" / name, _STRIKING.format(name=name, program=shutil.which(name)))
        _program(work / "python", _PYTHON.format(machine=platform.machine()))
        for name in ("old", "new"):
            self._make_package(work / name)

    def _make_package(self, package: Path) -> None:
        (package / "bundle").mkdir(parents=True)
        (package / "wheels").mkdir()
        (package / "wheels" / "pip-1-py3-none-any.whl").touch()
        (package / "requirements-3.11.txt").touch()
        for name in ("name", "whole"):
            (package / "bundle" / name).write_text(package.name)
        for path in SCRIPTS.iterdir():
            if path.suffix in (".sh", ".service", ""):
                shutil.copy(path, package / path.name)
        settings = f"target={platform.machine()}\npython=3.11\nengine=litert\nneeded_kb=1\ndomain=radiograph\n"
        (package / "package.conf").write_text(f"{settings}pip=wheels/pip-1-py3-none-any.whl\n")
        paths = sorted(path for path in package.rglob("*") if path.is_file())
        sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(package)}\n" for path in paths]
        (package / "SHA256SUMS").write_text("".join(sums))

    def run(self, package: str, strike: int = 0, kind: str = KILL) -> subprocess.CompletedProcess[str]:
        """Runs the installer of a package, struck at a program of that number; 0: at none."""
        (self._work / "count").write_text("0")
        environment = {
            "PATH": f"{self._work / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self._work),
            "COUNT": str(self._work / "count"),
            "STRIKE": str(strike),
            "KIND": kind,
        }
        command = [
            "sh",
            self._work / package / "install.sh",
            "--prefix",
            self.prefix,
            "--python",
            self._work / "python",
            "--link",
            self._work / "links",
        ]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, start_new_session=True
        )

    @property
    def count(self) -> int:
        """Of the programs that the last run called."""
        return int((self._work / "count").read_text())

    def answer(self) -> str:
        """Which version answers at the prefix."""
        done = subprocess.run(
            [self.prefix / "bin" / "edge-infer", "--model", self.prefix / "current" / "bundle"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def start_anew(self) -> None:
        """Leaves the earlier version installed and nothing else."""
        shutil.rmtree(self.prefix, ignore_errors=True)
        done = self.run("old")
        if done.returncode:
            raise RuntimeError(done.stderr)

    def strikes(self) -> Iterator[tuple[int, str]]:
        """Every strike at an update: (number of the program, kind)."""
        self.start_anew()
        self.run("new")
        for number in range(1, self.count + 1):
            yield from ((number, kind) for kind in (KILL, FULL))

    def faults(self, number: int, kind: str) -> list[str]:
        """What is wrong after a strike."""
        self.start_anew()
        done, wrong = self.run("new", number, kind), []
        if (done.returncode == -signal.SIGKILL) != (kind == KILL):
            wrong.append(f"ended with {done.returncode}")
        if kind == FULL and done.returncode not in (0, DISK):
            wrong.append(f"a full disk ended with {done.returncode}")
        if self.answer() not in ("old", "new"):
            wrong.append("nothing answers")
        if (again := self.run("new")).returncode:
            return [*wrong, f"the next start failed: {again.stderr}"]
        if self.answer() != "new":
            wrong.append("the earlier version still answers")
        kept = {self.prefix / link for link in ("current", "previous")}
        releases = {path.name for path in (self.prefix / "releases").iterdir()}
        if releases != {path.resolve().name for path in kept}:
            wrong.append(f"litter: {releases}")
        names = {path.name for path in self.prefix.iterdir()} | {path.name for path in (self.prefix / "bin").iterdir()}
        litter = names - {"bin", "releases", "current", "previous", "links", "uninstall.sh", *COMMANDS}
        return [*wrong, f"litter: {litter}"] if litter else wrong


def _program(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o755)
