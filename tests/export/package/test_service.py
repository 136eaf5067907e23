"""The service that install.sh sets up: systemd accepts its unit, and the command in it watches as it should."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

WATCH_S = 60  # within which one image is judged
# A file system of its own for what systemd reads, which nobody else sees. SYSTEMD_OFFLINE has systemctl write its links
# and leave the running systemd of this machine, if there is one, alone.
IN_PRIVATE = """
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && mount -t tmpfs tmpfs /etc/systemd/system || exit 77
    SYSTEMD_OFFLINE=1 sh install.sh --prefix "$PREFIX" --python "$PYTHON" --service >&2 || exit 1
    systemd-analyze verify /etc/systemd/system/fracture-edge.service >&2 || exit 2
    test -L /etc/systemd/system/default.target.wants/fracture-edge.service || exit 3
    cat /etc/systemd/system/fracture-edge.service
"""


@pytest.fixture
def unit(install) -> str:
    """The unit of `install.sh --service`, which systemd has verified."""
    if shutil.which("systemd-analyze") is None or shutil.which("systemctl") is None:
        pytest.skip("systemd-analyze, which verifies a unit, is not on this machine")
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    environment = os.environ | {"PREFIX": str(install.prefix), "PYTHON": sys.executable}
    environment.pop("SUDO_USER", None)
    done = subprocess.run(
        ["unshare", *as_root, "--mount", "sh", "-c", IN_PRIVATE],
        env=environment,
        cwd=install.package,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare:" in done.stderr or done.returncode == 77:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_systemd_accepts_the_unit_and_its_command_judges_what_arrives(unit, install, golden_images):
    assert "@" not in unit
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    results = install.prefix / "results.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/")
    try:
        shutil.copy(golden_images[0], install.prefix / "inbox")
        end = time.monotonic() + WATCH_S
        while not (results.exists() and results.read_text().endswith("\n")) and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=WATCH_S)
    assert process.returncode == 0, stderr
    (line,) = results.read_text().splitlines()
    assert golden_images[0].name in line and '"decision"' in line
