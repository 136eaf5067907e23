"""make boot: the package's services under a real systemd, from the installer to the end of the machine.

python -m tools.pi.boot_proof [BUNDLE]    a line for each thing that holds; the bundle is the one that ships by default

Exit code 0: all holds, or SKIPPED, with the reason; 4: something does not.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from export.package.target import machine_for
from tools.pi.booted import Booted
from tools.pi.debian import NotToBeHad
from tools.pi.device import WentWrong, kept_wheels, unpack_package
from train.phantom import draw

FAILED = 4  # exit code
SERVE, WATCH = "fracture-edge-serve.service", "fracture-edge.service"
MOST_EXPOSED = 2.0  # of 10, by systemd-analyze security
IMAGES, UPLOADS = 30, 12
PATIENCE_S = 90
_PREFIX = "/opt/fracture-edge"
_PYTHON = "3.11"  # of bookworm
# As docs/device.md has it.
SOCKET = """[Socket]
ListenStream=127.0.0.1:8080

[Install]
WantedBy=sockets.target
"""
# Runs there: uploads images side by side, stops a unit as soon as some of them wait, and prints what came of it.
_UPLOAD = """
import glob, json, subprocess, sys, threading, time, urllib.error, urllib.request
count, unit, server = int(sys.argv[1]), sys.argv[2], "http://127.0.0.1:8080"
def send(path):
    request = urllib.request.Request(server + "/v1/predict", open(path, "rb").read())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            statuses.append(answer.status if json.load(answer)["decision"] else 0)
    except urllib.error.URLError as error:
        statuses.append(str(error))
statuses, waiting, seconds = [], 0, 0.0
threads = [threading.Thread(target=send, args=(path,)) for path in sorted(glob.glob("/work/images/*.png"))[:count]]
[thread.start() for thread in threads]
if unit:
    while waiting < 4 and len(statuses) < count:
        waiting = json.load(urllib.request.urlopen(server + "/v1/health"))["waiting"]
    start = time.monotonic()
    subprocess.run(["systemctl", "stop", unit], check=True)
    seconds = time.monotonic() - start
[thread.join() for thread in threads]
print(json.dumps({"statuses": statuses, "waiting": waiting, "seconds": seconds}))
"""


class Device:
    """A booted system on which the package is installed."""

    def __init__(self, booted: Booted) -> None:
        self.booted = booted

    def run(self, *command: str) -> str:
        """What a command printed.

        Raises:
            WentWrong: it ended with another code than 0.
        """
        done = self.booted.run(*command)
        if done.returncode:
            raise WentWrong(f"{' '.join(command)} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def shown(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", SERVE, "--property", name, "--value").strip()

    def upload(self, count: int, stop: str = "") -> dict[str, Any]:
        """HTTP `statuses` of images sent side by side; of a unit stopped meanwhile, images `waiting`, and `seconds`."""
        return dict(json.loads(self.run("python3", "-c", _UPLOAD, str(count), stop)))

    def answers(self, count: int) -> bool:
        """Whether so many images that are sent side by side all get an answer."""
        return bool(self.upload(count)["statuses"] == [200] * count)

    def network(self) -> str:
        """The network that the service answers by."""
        ask = 'import json, urllib.request as r; print(json.load(r.urlopen("http://127.0.0.1:8080/v1/model"))["model"])'
        return self.run("python3", "-c", ask).strip()

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> float:
        """Seconds until something was so.

        Raises:
            WentWrong: it never was.
        """
        start = time.monotonic()
        while not is_so():
            if time.monotonic() > start + PATIENCE_S:
                raise WentWrong(f"after {PATIENCE_S} s still not so: {what}\n{self.log()}")
            time.sleep(0.2)
        return time.monotonic() - start

    def log(self) -> str:
        """The last lines of the service's journal."""
        return self.booted.run("journalctl", "--unit", SERVE, "--no-pager", "--lines", "15").stdout


def prove(device: Device) -> Iterator[str]:
    """A sentence for each thing that holds.

    Raises:
        WentWrong: something does not.
    """
    for check in (_installed, _held_closely, _killed, _watched, _drained, _by_socket, _taken_back, _removed):
        yield check(device)


def _installed(device: Device) -> str:
    device.run("sh", "/work/pi/install.sh", "--serve", "--watch")
    # Type=notify: active is what it says itself once it listens.
    if device.shown("ActiveState") != "active" or not device.answers(1):
        raise WentWrong(f"not ready when the installer was\n{device.log()}")
    return f"installed; {SERVE} says that it is ready, and answers at once, as user {device.shown('User')}"


def _held_closely(device: Device) -> str:
    units = [f"/etc/systemd/system/{SERVE}", f"/work/{WATCH}"]
    device.run("systemd-analyze", "verify", *units)
    levels = []
    for unit in units:
        told = device.run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
        levels.append(re.findall(r"exposure level for \S+ ([\d.]+)", told)[0])
    if max(map(float, levels)) > MOST_EXPOSED:
        raise WentWrong(f"exposed by {levels}, more than {MOST_EXPOSED}")
    return f"systemd-analyze verify has nothing to say; security: {SERVE} {levels[0]}, {WATCH} {levels[1]} of 10"


def _killed(device: Device) -> str:
    device.run("sh", "-c", f"cp /work/images/*.png {_PREFIX}/inbox/")
    lines = f"{_PREFIX}/results/results.jsonl"

    def judged() -> list[str]:
        text = device.booted.run("cat", lines).stdout
        return [json.loads(line)["path"].rpartition("/")[2] for line in text.splitlines() if line.endswith("}")]

    device.wait_for("some images are judged", lambda: len(judged()) >= 3)
    before = device.shown("MainPID")
    device.run("kill", "-9", before)
    device.wait_for(
        "it runs again", lambda: device.shown("ActiveState") == "active" and device.shown("MainPID") != before
    )
    device.wait_for("all images are judged", lambda: len(judged()) >= IMAGES)
    found = judged()
    if sorted(found) != sorted(set(found)) or len(found) != IMAGES or device.shown("NRestarts") != "1":
        raise WentWrong(f"{len(found)} lines of {len(set(found))} images, {device.shown('NRestarts')} restarts")
    return f"killed (SIGKILL) among {IMAGES} images of the inbox: started again by systemd, each image has one line"


def _watched(device: Device) -> str:
    drop_in = f"/etc/systemd/system/{SERVE}.d"
    device.run("sh", "-c", f"mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=15\\n' >{drop_in}/soon.conf")
    device.run("systemctl", "daemon-reload")
    device.run("systemctl", "restart", SERVE)
    device.run("kill", "-STOP", device.shown("MainPID"))
    seconds = device.wait_for("the watchdog has started it again", lambda: device.shown("NRestarts") == "1")
    device.wait_for("it runs again", lambda: device.shown("ActiveState") == "active")
    if not device.answers(1) or "atchdog" not in device.log():
        raise WentWrong(f"no answer after the watchdog\n{device.log()}")
    device.run("sh", "-c", f"rm -r {drop_in}")
    device.run("systemctl", "daemon-reload")
    device.run("systemctl", "restart", SERVE)
    return f"stopped (SIGSTOP), with WatchdogSec=15 in place of 60: started again after {seconds:.0f} s, and answers"


def _drained(device: Device) -> str:
    found = device.upload(UPLOADS, stop=SERVE)
    ended = device.shown("Result"), device.shown("ExecMainStatus")
    if found["statuses"] != [200] * UPLOADS or ended != ("success", "0") or found["waiting"] < 2:
        raise WentWrong(f"{found}, ended with {ended}\n{device.log()}")
    return (
        f"systemctl stop among {UPLOADS} uploads, {found['waiting']} of them waiting: all answered, ended after "
        f"{found['seconds']:.1f} s with code 0"
    )


def _by_socket(device: Device) -> str:
    unit = SERVE.replace(".service", ".socket")
    device.run("sh", "-c", f"printf '%s' \"$1\" >/etc/systemd/system/{unit}", "sh", SOCKET)
    device.run("systemctl", "daemon-reload")
    device.run("systemctl", "start", unit)
    if device.shown("ActiveState") != "inactive" or not device.answers(4):
        raise WentWrong(f"not started by its socket\n{device.log()}")
    device.run("systemctl", "restart", SERVE)
    if not device.answers(1):
        raise WentWrong(f"no answer after a restart with a socket\n{device.log()}")
    device.run("systemctl", "stop", unit, SERVE)
    device.run("rm", f"/etc/systemd/system/{unit}")
    device.run("systemctl", "daemon-reload")
    device.run("systemctl", "start", SERVE)
    return "with a socket of systemd the first request starts it, and waits for the answer"


def _taken_back(device: Device) -> str:
    first = device.network()
    device.run("edge-device", "swap-model", "/work/other")
    second = device.network()
    device.run("edge-device", "rollback")
    if second == first or device.network() != first:
        raise WentWrong(f"{first}, then {second}, then {device.network()}\n{device.log()}")
    return f"edge-device swap-model and rollback: the service answers by {first}, {second}, and {first} again"


def _removed(device: Device) -> str:
    device.run("sh", f"{_PREFIX}/uninstall.sh")
    if device.booted.run("systemctl", "cat", SERVE).returncode == 0:
        raise WentWrong("uninstall.sh leaves the service")
    failed = device.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").strip()
    if failed:
        raise WentWrong(f"failed units: {failed}")
    return "uninstall.sh: no service is left, and systemd knows of no failure"


def _prepare(folder: Path, bundle: Path) -> None:
    """Package, unit, another network and images, for the system to read."""
    machine = machine_for(platform.machine(), _PYTHON, "litert")
    unpack_package(bundle, machine, kept_wheels(machine), folder)
    unit = Path("export/package/files/edge-infer.service").read_text()
    (folder / WATCH).write_text(unit.replace("@PREFIX@", _PREFIX))
    shutil.copytree("tests/edge_runtime/golden/tiny_bundle", folder / "other")
    (folder / "images").mkdir()
    from PIL import Image

    for index in range(IMAGES):
        Image.fromarray(draw(1, index, index % 2).image_u8).save(folder / "images" / f"{index:03d}.png")


def main(bundle: str = "edge_runtime/model") -> int:
    """Prints what holds; 0 where all does or nothing could be run, 4 where something does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            _prepare(Path(folder), Path(bundle))
            with Booted(Path(folder)) as booted:
                version = booted.run("systemctl", "--version").stdout.splitlines()[0]
                print(f"{version} as process 1, {platform.machine()}", flush=True)
                for line in prove(Device(booted)):
                    print(f"holds: {line}", flush=True)
        except NotToBeHad as error:
            print(f"make boot: SKIPPED because {error}")
        except WentWrong as error:
            print(f"FAILED: {error}")
            return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
