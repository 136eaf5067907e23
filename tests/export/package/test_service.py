"""The service that install.sh sets up: systemd accepts its unit, and the command in it watches as it should."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.export.package.conftest import run_privately

WATCH_S = 60  # within which one image is judged
MOST_EXPOSED = 2.0  # of 10, as systemd-analyze counts; the unit that watches has 0.4, the one that serves 1.2
# A file system of its own for what systemd reads, which nobody else sees. SYSTEMD_OFFLINE has systemctl write its links
# and leave the running systemd of this machine, if there is one, alone.
IN_PRIVATE = """
    cp -a /etc "$COPY" && mount --bind "$COPY/etc" /etc || exit 77
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && mount -t tmpfs tmpfs /etc/systemd/system || exit 77
    SYSTEMD_OFFLINE=1 sh install.sh --prefix "$PREFIX" --python "$PYTHON" --service --serve >&2 || exit 1
    for name in fracture-edge.service fracture-edge-serve.service; do
        systemd-analyze verify "/etc/systemd/system/$name" >&2 || exit 2
        test -L "/etc/systemd/system/multi-user.target.wants/$name" || exit 3
        systemd-analyze security --offline=true --threshold=20 --no-pager "$name" >>"$COPY/security" || exit 4
    done
    cp /etc/systemd/system/fracture-edge-serve.service "$COPY"
    find "$PREFIX" -user fracture-edge | sort >"$COPY/owned"
    stat -c '%U %G %a' "$PREFIX/inbox" "$PREFIX/results" >"$COPY/modes"
    mkdir /run/prefix && mount --bind "$PREFIX" /run/prefix || exit 77
    setpriv --reuid=fracture-edge --regid=fracture-edge --clear-groups sh -c '
        for place in "$0" "$0/bin/edge-infer" "$0/releases" "$0/inbox"; do [ ! -w "$place" ] || echo "$place"; done
        ! touch "$0/inbox/mine" 2>/dev/null || echo "wrote into the inbox"
        touch "$0/results/mine" && rm "$0/results/mine"' /run/prefix >"$COPY/writable" || exit 5
    cat /etc/systemd/system/fracture-edge.service
    if [ -n "$AGAIN" ]; then
        SYSTEMD_OFFLINE=1 sh install.sh --prefix "$PREFIX" --python "$PYTHON" $AGAIN >&2 || exit 9
        systemd-analyze verify /etc/systemd/system/fracture-edge-serve.service >&2 || exit 10
        [ ! -e /etc/systemd/system/fracture-edge.service ] || exit 11
        [ ! -e /etc/systemd/system/multi-user.target.wants/fracture-edge.service ] || exit 12
        cp /etc/systemd/system/fracture-edge-serve.service "$COPY/watching.service"
        ! SYSTEMD_OFFLINE=1 sh install.sh --prefix "$PREFIX" --python "$PYTHON" --service 2>"$COPY/refused" || exit 13
    fi
    mv "$PREFIX" "$COPY/prefix" && cp -a "$COPY/prefix" "$PREFIX" || exit 77
    SYSTEMD_OFFLINE=1 sh "$PREFIX/uninstall.sh" --purge >&2 || exit 6
    ! find "$PREFIX" /etc/systemd/system 2>/dev/null -name '*fracture*' | grep . >&2 || exit 7
    ! getent passwd fracture-edge >&2 || exit 8
    mv "$COPY/prefix" "$PREFIX"
"""


@pytest.fixture
def copy(tmp_path):
    """Where the private file system leaves what it found."""
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


@pytest.fixture
def unit(install, copy, request) -> str:
    """The unit of `install.sh --service`, which systemd has verified."""
    if shutil.which("systemd-analyze") is None or shutil.which("systemctl") is None:
        pytest.skip("systemd-analyze, which verifies a unit, is not on this machine")
    if os.geteuid() != 0:
        pytest.skip("only root can make the user of the service, in a private copy of /etc")
    environment = os.environ | {"PREFIX": str(install.prefix), "PYTHON": sys.executable, "COPY": str(copy)}
    environment |= {"SUDO_USER": "root", "AGAIN": getattr(request, "param", "")}
    return run_privately(IN_PRIVATE, environment, install.package)


def judge_one(command: list[str], image: Path, prefix: Path, environment: dict[str, str] | None = None) -> None:
    """Runs a watching command until it has written a line about an image in its inbox, and ends it as systemd does."""
    results = prefix / "results" / "results.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/", env=environment)
    try:
        shutil.copy(image, prefix / "inbox")
        end = time.monotonic() + WATCH_S
        while not (results.exists() and results.read_text().endswith("\n")) and time.monotonic() < end:
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=WATCH_S)
    assert process.returncode == 0, stderr


def test_systemd_accepts_the_unit_and_its_command_judges_what_arrives(unit, install, golden_images):
    assert "@PREFIX@" not in unit
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    results = install.prefix / "results" / "results.jsonl"
    judge_one(command, golden_images[0], install.prefix)
    (line,) = results.read_text().splitlines()
    assert golden_images[0].name in line and '"decision"' in line


def test_the_service_is_held_closely(unit, copy):
    found = re.findall(r"exposure level for (fracture-edge\S*): ([0-9.]+)", (copy / "security").read_text())
    assert [name for name, _ in found] == ["fracture-edge.service", "fracture-edge-serve.service"]
    assert all(float(exposure) <= MOST_EXPOSED for _, exposure in found), found
    for line in ("ProtectSystem=strict", "PrivateNetwork=yes", "UMask=0077", "User=fracture-edge"):
        assert line in unit.splitlines()
    assert "MemoryMax=" in unit and "SystemCallFilter=" in unit


def test_the_command_of_the_unit_that_serves_answers_and_stops(unit, copy, tmp_path):
    text = (copy / "fracture-edge-serve.service").read_text()
    assert "@PREFIX@" not in text and {"Type=notify", "StateDirectoryMode=0700"} <= set(text.splitlines())
    assert "--watch" not in text and "ReadWritePaths" not in text
    command = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1].replace("$EDGE_SERVE_OPTIONS", "--port 0")
    command = command.replace("$EDGE_SERVE_WATCH ", "")
    environment = {"PATH": os.environ["PATH"], "STATE_DIRECTORY": str(tmp_path / "state")}
    process = subprocess.Popen(shlex.split(command), stderr=subprocess.PIPE, text=True, cwd="/", env=environment)
    try:
        told = iter(process.stderr)
        url = next(line.split()[1] for line in told if line.startswith("serving "))
        with urllib.request.urlopen(f"{url}/v1/health", timeout=WATCH_S) as answer:
            assert json.load(answer)["status"] == "ok"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WATCH_S)
    assert process.returncode == 0 and (tmp_path / "state" / "store.sqlite").exists()


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["--serve --watch"], indirect=True)
def test_edge_serve_takes_the_inbox_over_and_its_command_judges_what_arrives(
    unit, install, copy, tmp_path, golden_images
):
    text = (copy / "watching.service").read_text()
    assert "@WATCHING" not in text and f"ReadWritePaths={install.prefix}/inbox {install.prefix}/results" in text
    watch = re.search(r'^Environment="EDGE_SERVE_WATCH=(.*)"$', text, re.MULTILINE)[1]
    command = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)[1].replace("$EDGE_SERVE_WATCH", watch)
    environment = {"PATH": os.environ["PATH"], "STATE_DIRECTORY": str(tmp_path / "state")}
    given = shlex.split(command.replace("$EDGE_SERVE_OPTIONS", "--port 0"))
    results = install.prefix / "results" / "results.jsonl"
    judge_one(given, golden_images[0], install.prefix, environment)
    assert golden_images[0].name in results.read_text()
    assert "edge-serve watches" in (copy / "refused").read_text()


def test_the_user_of_the_service_owns_the_results_alone(unit, install, copy):
    assert (copy / "owned").read_text().split() == [str(install.prefix / "results")]
    assert (copy / "modes").read_text().splitlines() == ["root fracture-edge 2770", "fracture-edge fracture-edge 700"]
    assert (copy / "writable").read_text() == "/run/prefix/inbox\nwrote into the inbox\n"
