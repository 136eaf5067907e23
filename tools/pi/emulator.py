"""A Raspberry Pi without one: Debian for ARM under QEMU, entered without root rights and without a network.

QEMU is of Debian trixie (10): the 7.2 of bookworm crashes LiteRT and ONNX Runtime.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tools.pi.debian import Debian, NotToBeHad

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fracture-edge" / "pi"
_BASE = ["python3", "coreutils", "dash", "util-linux", "sed", "grep", "findutils", "base-files", "libstdc++6"]
_ELF = r"\x7f\x45\x4c\x46{}\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00{}\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# LiteRT asks /sys for the processors: without it it falls back on kernels that answer differently.
_ENTER = r"""
set -eu
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s' ":arm:M::$MAGIC:$MASK:$QEMU:F" >/proc/sys/fs/binfmt_misc/register
mount --rbind /sys "$ROOT/sys"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/tmp"
while [ "$1" != -- ]; do
    mkdir -p "$ROOT$2"
    mount --bind "$1" "$ROOT$2"
    shift 2
done
shift
unset PYTHONPATH PYTHONHOME
HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 exec chroot "$ROOT" "$@"
"""


@dataclass(frozen=True)
class System:
    """A release of Raspberry Pi OS, which is Debian's, and the processors that it is emulated on."""

    target: str  # of edge-export --target
    python: str  # of edge-export --python
    debian: str  # Debian's name of the architecture
    suite: str  # Debian's name of the release
    qemu: str  # program
    magic: str  # how a program for it begins, as binfmt_misc has it
    processors: tuple[str, ...]  # to emulate
    packages: tuple[str, ...] = ()  # beyond the base

    def __str__(self) -> str:
        return f"{self.target}, {self.suite}, Python {self.python}"


BOOKWORM_64 = System(
    "aarch64",
    "3.11",
    "arm64",
    "bookworm",
    "qemu-aarch64",
    _ELF.format(r"\x02", r"\xb7"),
    ("cortex-a53", "cortex-a72", "cortex-a76"),
)
TRIXIE_64 = replace(BOOKWORM_64, python="3.13", suite="trixie")
# qemu-arm knows no Cortex-A53: the A7 and the A15 are the 32-bit processors next to those of the Raspberry Pi 2 and 4.
BOOKWORM_32 = System(
    "armv7l",
    "3.11",
    "armhf",
    "bookworm",
    "qemu-arm",
    _ELF.format(r"\x01", r"\x28"),
    ("cortex-a7", "cortex-a15"),
    ("python3-numpy", "gcc", "libc6-dev", "python3-dev", "libjpeg62-turbo-dev", "zlib1g-dev"),
)


@dataclass(frozen=True)
class Emulator:
    """A machine to run commands on."""

    system: System
    root: Path  # its file system
    qemu: Path  # the program
    binds: Mapping[Path, str] = field(default_factory=dict)  # folder here -> path there

    def run(
        self, processor: str, *command: str, timeout: float = 1800, preexec: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command there, as root, with no network; `preexec` is called in the new process before anything."""
        binds = [part for here, there in self.binds.items() for part in (str(here.resolve()), there)]
        unshare = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        facts = {"ROOT": str(self.root), "QEMU": str(self.qemu), "MAGIC": self.system.magic, "MASK": _MASK}
        return subprocess.run(
            [*unshare, "sh", "-c", _ENTER, "enter", *binds, "--", *command],
            env=os.environ | facts | {"QEMU_CPU": processor},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            preexec_fn=preexec,
        )


def open_emulator(system: System, binds: Mapping[Path, str], cache: Path = CACHE) -> Emulator:
    """The emulator of a system; built at the first time, kept after that.

    Raises:
        NotToBeHad: with the reason.
    """
    cache.mkdir(parents=True, exist_ok=True)
    qemu = cache / "qemu"
    if not qemu.exists():
        Debian(cache / "apt-qemu", "amd64", "trixie").unpack_alone("qemu-user", qemu)
    name = f"{system.debian}-{system.suite}"
    root = cache / f"root-{name}"
    if not root.exists():
        Debian(cache / f"apt-{name}", system.debian, system.suite).unpack([*_BASE, *system.packages], root)
        _settle(root)
    emulator = Emulator(system, root, qemu / "usr" / "bin" / system.qemu, binds)
    with tempfile.TemporaryDirectory() as folder:
        probe = replace(emulator, binds={Path(folder): "/probe"})
        done = probe.run(system.processors[0], "/usr/bin/python3", "-c", "print('here')")
    if done.stdout != "here\n":
        reason = f"{done.stdout}{done.stderr}".strip()
        raise NotToBeHad(f"no program for {system.target} runs here (Linux 6.7 or later is needed): {reason}")
    return emulator


def _settle(root: Path) -> None:
    """What the packages' own scripts would have done."""
    for name in ("proc", "sys", "dev", "tmp", "root"):
        (root / name).mkdir(exist_ok=True)
    libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
    for name in ("blas", "lapack"):
        if (libraries / name).is_dir():
            (libraries / f"lib{name}.so.3").symlink_to(f"{name}/lib{name}.so.3")
    # With the shared library out of the way Pillow takes the static one, and its wheel needs no library on the device.
    (libraries / "libjpeg.so").unlink(missing_ok=True)
