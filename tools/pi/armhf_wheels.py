"""Every wheel that a 32-bit Raspberry Pi needs: Pillow compiled, the others downloaded.

Pillow's build runs under emulation; on x86 the compiler itself does not: it is the same release of the same compiler,
and writes for ARM.

It reads JPEG, PNG, BMP, GIF, PNM and uncompressed TIFF; WebP and compressed TIFF would need libraries on the device.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from export.package.pins import pinned_versions
from export.package.target import machine_for
from tools.pi.debian import Debian, NotToBeHad
from tools.pi.emulator import BOOKWORM_32, CACHE, open_emulator

WHEELS = CACHE / "wheels-armv7l"
_BUILD_TOOLS = ("setuptools", "pybind11")
_COMPILE_S = 7200  # with the compiler under emulation too a busy machine takes more than half an hour
# Debian's compiler for ARM that runs on x86, unpacked at /cross; it knows the device's own headers and libraries.
_CROSS = "gcc-arm-linux-gnueabihf"
_ARM, _X86 = "arm-linux-gnueabihf", "x86_64-linux-gnu"
_CROSS_CC = " ".join(
    (
        f"/cross/usr/bin/{_ARM}-gcc -isystem /usr/include -isystem /usr/include/{_ARM}",
        f"-B/usr/lib/{_ARM} -L/usr/lib/{_ARM}",
    )
)
_WITHOUT = ("tiff", "webp", "avif", "freetype", "lcms", "jpeg2000", "imagequant", "xcb")


def armhf_wheels() -> Path:
    """The folder of wheels, for `--wheels`; built at the first time (some minutes), kept after that.

    Raises:
        NotToBeHad: with the reason.
    """
    pins = pinned_versions(machine_for("armv7l", "3.11", None))
    if len(list(WHEELS.glob("*.whl"))) == len(pins):
        return WHEELS
    with tempfile.TemporaryDirectory(dir=CACHE.parent if CACHE.parent.is_dir() else None) as folder:
        sources, built = Path(folder) / "sources", Path(folder) / "built"
        built.mkdir()
        _download(sources, "--no-binary=pillow", f"pillow=={pins['pillow']}", f"pip=={pins['pip']}", *_BUILD_TOOLS)
        _compile(sources, built)
        others = [f"{name}=={version}" for name, version in pins.items() if name != "pillow"]
        platform = ["--only-binary=:all:", "--python-version=311", "--platform=manylinux_2_34_armv7l"]
        _download(built, *platform, *others)
        shutil.rmtree(WHEELS, ignore_errors=True)
        shutil.copytree(built, WHEELS)
    return WHEELS


def _download(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotToBeHad(f"pip cannot download what Pillow is built from: {done.stderr.strip()}")


def _compile(sources: Path, built: Path) -> None:
    cc, binds = _compiler()
    emulator = open_emulator(BOOKWORM_32, {sources: "/sources", built: "/built", **binds})
    (pip,) = sources.glob("pip-*.whl")
    (pillow,) = sources.glob("pillow-*.tar.gz")
    features = [part for name in _WITHOUT for part in ("-C", f"{name}=disable")]
    options = ["--no-index", "--find-links=/sources", "--no-deps", "--no-cache-dir", "--wheel-dir=/built", *features]
    command = [
        "env",
        f"CC={cc}",
        f"LDSHARED={cc} -shared",
        "/usr/bin/python3",
        f"/sources/{pip.name}/pip",
        "wheel",
        *options,
    ]
    done = emulator.run(BOOKWORM_32.processors[0], *command, f"/sources/{pillow.name}", timeout=_COMPILE_S)
    if done.returncode:
        raise NotToBeHad(f"Pillow does not compile under emulation: {done.stderr.strip()[-2000:]}")


def _compiler() -> tuple[str, dict[Path, str]]:
    """(what calls it, the folders that it needs there)."""
    if platform.machine() != "x86_64":
        return "gcc", {}
    tree = CACHE / "cross-armhf"
    if not tree.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        Debian(CACHE / "apt-cross-armhf", "amd64", BOOKWORM_32.suite).unpack([_CROSS], tree)
    libraries = f"usr/lib/{_X86}"
    return _CROSS_CC, {tree: "/cross", tree / "lib64": "/lib64", tree / libraries: f"/{libraries}"}


if __name__ == "__main__":
    try:
        print(armhf_wheels())
    except NotToBeHad as error:
        print(f"SKIPPED: {error}")
