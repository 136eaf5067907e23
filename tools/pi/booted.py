"""Debian with systemd as its process 1, in namespaces of its own: services run as on a device, with no machine beside.

It needs root and control groups of version 2; nothing of this machine is changed, and nothing is left over.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tools.pi.debian import Debian, NotToBeHad
from tools.pi.emulator import CACHE

SUITE = "bookworm"
_PACKAGES = (
    *("python3", "coreutils", "dash", "bash", "util-linux", "sed", "grep", "findutils", "base-files", "libc-bin"),
    *("libstdc++6", "systemd", "systemd-sysv", "dbus", "passwd", "procps", "mount", "login", "hostname"),
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What the packages' own scripts would have made.
_PASSWD = """root:x:0:0:root:/root:/bin/bash
messagebus:x:100:100::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = "root:x:0:\ntty:x:5:\nadm:x:4:\nutmp:x:43:\nmessagebus:x:100:\nnogroup:x:65534:\n"
_MASKED = ("getty.target", "systemd-logind.service", "systemd-networkd.service", "systemd-resolved.service")
_BOOT = r"""
set -eu
mkdir "$WORK/groups" "$WORK/upper"
mount -t cgroup2 cgroup2 "$WORK/groups"
mkdir "$WORK/groups/$GROUP"
echo $$ >"$WORK/groups/$GROUP/cgroup.procs"
exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -c '
set -eu
mount -t tmpfs tmpfs "$WORK/upper"
mkdir "$WORK/upper/files" "$WORK/upper/work" "$WORK/upper/root"
ROOT="$WORK/upper/root"
mount -t overlay -o "lowerdir=$TREE,upperdir=$WORK/upper/files,workdir=$WORK/upper/work" overlay "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t sysfs -o ro sysfs "$ROOT/sys"
mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
mknod -m 666 "$ROOT/dev/null" c 1 3
mknod -m 666 "$ROOT/dev/zero" c 1 5
mknod -m 666 "$ROOT/dev/full" c 1 7
mknod -m 666 "$ROOT/dev/random" c 1 8
mknod -m 666 "$ROOT/dev/urandom" c 1 9
mknod -m 666 "$ROOT/dev/tty" c 5 0
ln -s pts/ptmx "$ROOT/dev/ptmx"
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm" "$ROOT/work" "$ROOT/before"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$ROOT/dev/pts"
ln -s /proc/self/fd "$ROOT/dev/fd"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/run"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind "$SHARED" "$ROOT/work"
hostname edge-test
cd "$ROOT"
pivot_root . before
umount -l /before
exec env -i container=oci PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 /usr/lib/systemd/systemd
'
"""
_PATIENCE_S = 120


class Booted:
    """A system that has booted, until the block ends.

    Args:
        shared: folder here; /work there.

    Raises:
        NotToBeHad: with the reason.
    """

    def __init__(self, shared: Path) -> None:
        if os.geteuid() != 0:
            raise NotToBeHad("only root can start a systemd of its own")
        self._tree, self._shared = _tree(), shared
        self._work = tempfile.TemporaryDirectory(prefix="edge-boot-")
        self._group = f"edge-boot-{os.getpid()}"
        self._outer: subprocess.Popen[bytes] | None = None
        self._init = 0  # systemd, as this machine numbers it

    def __enter__(self) -> Booted:
        facts = {"TREE": self._tree, "SHARED": self._shared.resolve(), "WORK": self._work.name, "GROUP": self._group}
        self._outer = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _BOOT],
            env=os.environ | {name: str(value) for name, value in facts.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end and self._outer.poll() is None:
            self._init = _child_of(self._outer.pid)
            if self._init and self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                return self
            time.sleep(0.5)
        self.close()
        reason = (self._outer.stderr.read() if self._outer.stderr else b"").decode(errors="replace").strip()
        raise NotToBeHad(f"systemd does not start in namespaces here: {reason or 'it does not say why'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, and everything that it started."""
        if self._outer is not None:
            if self._init and self._outer.poll() is None:
                os.kill(self._init, signal.SIGKILL)  # process 1: the kernel ends all others of its namespace
            self._outer.terminate()
            self._outer.wait(30)
        self._remove_group()
        self._work.cleanup()

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a command there, as root."""
        enter = ["nsenter", "--target", str(self._init), *"--mount --pid --net --uts --ipc --cgroup".split()]
        path = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        return subprocess.run([*enter, *path, *command], capture_output=True, text=True, check=False, timeout=timeout)

    def _remove_group(self) -> None:
        script = 'mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null || true'
        subprocess.run(["unshare", "--mount", "sh", "-c", script, "remove", self._work.name, self._group], check=False)


def _tree() -> Path:
    """The file system; built at the first time, kept after that."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise NotToBeHad(f"no tree for {platform.machine()}")
    tree = CACHE / f"root-{architecture}-{SUITE}-systemd"
    if not tree.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = tree.with_name(f"{tree.name}.draft")
        Debian(CACHE / f"apt-{architecture}-{SUITE}-systemd", architecture, SUITE).unpack(list(_PACKAGES), draft)
        (draft / "etc" / "passwd").write_text(_PASSWD)
        (draft / "etc" / "group").write_text(_GROUP)
        for name in ("shadow", "gshadow", "machine-id"):
            (draft / "etc" / name).write_text("")
        run = draft / "var" / "run"
        if not run.is_symlink():
            run.rmdir()
            run.symlink_to("/run")
        units = draft / "etc" / "systemd" / "system"
        (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
        for name in _MASKED:
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")
        draft.rename(tree)
    return tree


def _child_of(process: int) -> int:
    """The first child of a process; 0 where it has none."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0
