"""A Debian package that carries the archive and calls its installer: `apt install ./FILE.deb`.

dpkg unpacks nothing of ours but the archive: the installer checks it, tests the release before it is put in use, and
can go back, which dpkg cannot. The form is that of deb(5): an `ar` archive of a version, control files and data.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from edge_runtime import __version__
from edge_runtime.errors import DataError
from edge_runtime.whole_files import whole_file
from export.package.target import Machine

SUFFIX = ".deb"
INSIDE = "fracture-edge"  # name of the archive, and of the folder in it
_PLACE = f"usr/share/fracture-edge/{INSIDE}.zip"
_ARCHITECTURES = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64"}
_MAGIC, _VERSION = b"!<arch>\n", b"2.0\n"
_PROGRAM, _FILE, _FOLDER = 0o755, 0o644, 0o755


def write_debian_package(archive: Path, target: Path, machines: Sequence[Machine], number: int) -> None:
    """Writes the package, whole or not at all; the same archive and number give the same bytes.

    Args:
        archive: `.zip` whose one folder is INSIDE.
        target: `.deb` to write; an earlier package of ours there is replaced.
        machines: that the archive is for.
        number: grows from package to package.

    Raises:
        DataError: something else stands there.
    """
    require_debian_package_of_ours(target)
    with whole_file(target) as draft, archive.with_suffix(".data").open("w+b") as data, draft.open("wb") as stream:
        _write_data(archive, data)
        stream.write(_MAGIC)
        control = _control(machines, number, archive.stat().st_size)
        for name, content in (("debian-binary", _VERSION), ("control.tar", control)):
            _begin_member(stream, name, len(content))
            stream.write(content + b"\n" * (len(content) % 2))
        _begin_member(stream, "data.tar", data.seek(0, io.SEEK_END))
        data.seek(0)
        shutil.copyfileobj(data, stream)  # of an even size, as every tar


def require_debian_package_of_ours(target: Path) -> None:
    """Refuses to replace a file that is no Debian package of ours.

    Raises:
        DataError: it is not.
    """
    if not target.exists():
        return
    try:
        with target.open("rb") as stream:
            head = stream.read(64 << 10)
    except OSError:
        head = b""
    if not head.startswith(_MAGIC) or b"Package: fracture-edge\n" not in head:
        raise DataError(f"--package {target}: exists and is not a package; nothing was overwritten, give another name")


def _control(machines: Sequence[Machine], number: int, size: int) -> bytes:
    """The control files: what it is, what it needs, and the two scripts."""
    pythons = sorted(tuple(map(int, machine.python.split("."))) for machine in machines)
    (major, least), most = pythons[0], pythons[-1][1]
    needs = [f"python3 (>= {major}.{least})", f"python3 (<< {major}.{most + 1})"]
    target = machines[0].target
    if target.system_numpy:
        needs.append("python3-numpy")
    lines = {
        "Package": "fracture-edge",
        "Version": f"{__version__}-{number}",
        "Architecture": _ARCHITECTURES[target.name],
        "Maintainer": "fracture-edge <root@localhost>",
        "Installed-Size": str(-(-size // 1024)),
        "Depends": ", ".join(needs),
        "Section": "science",
        "Priority": "optional",
        "Description": "judges bone X-rays on this machine, offline\n"
        " Carries an archive and calls its installer, which puts it into /opt/fracture-edge.\n"
        " Research use only: not a medical device.",
    }
    control = "".join(f"{name}: {value}\n" for name, value in lines.items())
    scripts = files("export.package") / "files"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add_folder(tar, "./")
        _add(tar, "./control", control.encode(), _FILE)
        for name in ("postinst", "prerm"):
            _add(tar, f"./{name}", (scripts / f"deb-{name}").read_bytes(), _PROGRAM)
    return stream.getvalue()


def _write_data(archive: Path, data: io.BufferedRandom) -> None:
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add_folder(tar, "./")
        for parent in reversed(Path(_PLACE).parents[:-1]):
            _add_folder(tar, f"./{parent}/")
        entry = _entry(f"./{_PLACE}", _FILE)
        entry.size = archive.stat().st_size
        with archive.open("rb") as stream:
            tar.addfile(entry, stream)


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    entry = _entry(name, _FOLDER)
    entry.type = tarfile.DIRTYPE
    tar.addfile(entry)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, mode)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uname, entry.gname = mode, "root", "root"
    return entry


def _begin_member(stream: io.BufferedWriter, name: str, size: int) -> None:
    stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{size:<10}`\n".encode("ascii"))
