"""Kills install.sh before a step of our choice, as a power cut would, without a change to the script.

bash reads a file of ours before it runs the script: it counts the script's simple commands, and at the chosen one kills
the whole process group. install.sh itself is plain shell and knows nothing of it.
"""

from __future__ import annotations

import re
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.export.package.conftest import Install

# Subshells are left out: they count on their own and would hide steps of the script behind the same numbers.
_BEFORE_EVERY_STEP = """
set -o functrace
step=0
before_step() {
    [ "$BASH_SUBSHELL" -eq 0 ] || return 0
    step=$((step + 1))
    [ -z "${STEPS-}" ] || printf '%s %s\\n' "$step" "${1%%$'\\n'*}" >>"$STEPS"
    [ "$step" -ne "${KILL_AT:-0}" ] || kill -KILL 0
}
trap 'before_step "$BASH_COMMAND"' DEBUG
unset BASH_ENV
"""


def steps_of(install: Install) -> dict[int, str]:
    """{number: command} of a run that is not killed. It installs the package."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "steps"
        done = _run(install, Path(folder), {"STEPS": str(listing)})
        assert done.returncode == 0, done.stderr
        lines = re.findall(r"^(\d+) (.*)$", listing.read_text(), re.MULTILINE)
    return {int(number): step for number, step in lines}


def killed_at(install: Install, number: int) -> None:
    """Runs install.sh until it is killed before the step of that number."""
    with tempfile.TemporaryDirectory() as folder:
        done = _run(install, Path(folder), {"KILL_AT": str(number)})
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr  # 0: a run of fewer steps


def _run(install: Install, folder: Path, environment: dict[str, str]):
    hook = folder / "hook"
    hook.write_text(_BEFORE_EVERY_STEP)
    try:
        return install.run(shell="bash", start_new_session=True, env={"BASH_ENV": str(hook), **environment})
    except FileNotFoundError:
        pytest.skip("bash, which counts the steps, is not on this machine")
