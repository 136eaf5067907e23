"""A signed package, opened by the version that is installed: nothing in it runs before all of it is proven.

The package's own installer cannot do that, since who could alter the package could alter it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.device.signatures import (
    MOST_SIGNATURE_BYTES,
    TrustedKey,
    compare,
    is_plain_path,
    signed_files,
)
from edge_runtime.drafts import clear_drafts, new_draft_folder, remove
from edge_runtime.errors import GateError, ModelError, StorageError

PACKAGE_SIGNATURE = "package.sig"
SETTINGS = "package.conf"
MOST_BYTES = 2 << 30  # unpacked; a package with every extra takes a fifth of it
_CHUNK = 1 << 20
_KIND, _REGULAR = 0o170000, 0o100000  # of a Unix mode
_EXECUTABLE = 0o111
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError)


@contextlib.contextmanager
def proven_package(archive: Path, trusted: TrustedKey, room: Path) -> Iterator[Path]:
    """The folder of a package whose every file the key has signed; it goes when the block ends.

    Args:
        archive: a package, `.zip`.
        trusted: the only key that counts.
        room: folder that nobody else can write to: what was proven there cannot be exchanged afterwards.

    Raises:
        ModelError: not a package, not signed by that key, or any file altered, added or missing.
        StorageError: it cannot be read or unpacked.
    """
    try:
        clear_drafts(room)
        work, held = new_draft_folder(room / "incoming", 0o700)
    except OSError as error:
        raise StorageError(f"{room}: cannot be written to: {error.strerror}") from error
    try:
        yield _unpack(archive, trusted, work)
    finally:
        remove(work)
        os.close(held)


def _unpack(archive: Path, trusted: TrustedKey, work: Path) -> Path:
    try:
        copy = work / "archive.zip"
        shutil.copyfile(archive, copy)  # the very bytes that are proven are those that are unpacked
        with zipfile.ZipFile(copy) as package:
            top, entries = _entries(package, archive)
            if PACKAGE_SIGNATURE not in entries:
                raise ModelError(f"{archive}: not signed: no {PACKAGE_SIGNATURE} inside")
            name = f"{archive}: {PACKAGE_SIGNATURE}"
            files = signed_files(package.read(entries.pop(PACKAGE_SIGNATURE)), trusted, name)
            hashes: dict[str, str] = {}
            for path, entry in entries.items():
                if path in files:  # what nobody signed is not even unpacked
                    hashes[path] = _extract(package, entry, work / top / path)
            compare(files, set(entries), lambda path: hashes[path], str(archive))
        return work / top
    except _DAMAGED as error:
        raise ModelError(f"{archive}: not a package, or damaged; copy it again") from error
    except OSError as error:
        raise StorageError(f"{archive}: cannot be unpacked: {error.strerror or error}") from error


def _entries(package: zipfile.ZipFile, archive: Path) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """(the one top folder, {path below it: entry})."""
    infos = [info for info in package.infolist() if not info.is_dir()]
    tops = {info.filename.split("/")[0] for info in infos}
    entries = {info.filename.partition("/")[2]: info for info in infos}
    is_sound = (
        len(tops) == 1
        and len(entries) == len(infos)
        and all(is_plain_path(info.filename) for info in infos)
        and all((info.external_attr >> 16) & _KIND in (0, _REGULAR) for info in infos)
        and sum(info.file_size for info in infos) <= MOST_BYTES
        and entries.get(PACKAGE_SIGNATURE, infos[0]).file_size <= MOST_SIGNATURE_BYTES
    )
    if not is_sound:
        raise ModelError(f"{archive}: not a package: one folder of plain files was expected")
    return tops.pop(), entries


def _extract(package: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> str:
    """Unpacks one file, no more of it than it claims to hold, and returns its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.file_size
    with package.open(entry) as source, target.open("wb") as stream:
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ValueError("longer than it claims to be")
            digest.update(chunk)
            stream.write(chunk)
    os.chmod(target, 0o755 if (entry.external_attr >> 16) & _EXECUTABLE else 0o644)
    return digest.hexdigest()


def refuse_older(package: Path, installed: Path) -> None:
    """Refuses a proven package that is older than the release that is installed.

    Args:
        package: its folder.
        installed: folder of the release; one that has no settings is older than anything.

    Raises:
        GateError: it is older.
        ModelError: it does not say how old it is.
    """
    try:
        ours = age_of(read_settings(installed / SETTINGS))
    except (OSError, ModelError):
        return
    theirs = age_of(read_settings(package / SETTINGS))
    if theirs < ours:
        raise GateError(
            f"the package is older than what is installed ({_told(theirs)}, here {_told(ours)}); "
            "--allow-downgrade installs it all the same"
        )


def read_settings(path: Path) -> dict[str, str]:
    """The names and values of a `package.conf`, read and never run."""
    settings = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        words = shlex.split(value)
        settings[name] = words[0] if words else ""
    return settings


def age_of(settings: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """(version, number), which grow: the larger is the newer.

    Raises:
        ModelError: the settings do not tell.
    """
    try:
        return tuple(map(int, settings["version"].split("."))), int(settings["number"])
    except (LookupError, ValueError) as error:
        raise ModelError(f"{SETTINGS}: tells no version and number") from error


def _told(age: tuple[tuple[int, ...], int]) -> str:
    return f"version {'.'.join(map(str, age[0]))}, number {age[1]}"
