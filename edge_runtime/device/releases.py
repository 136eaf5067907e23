"""The releases in a prefix: the one in use, the one before it, and the step from one to the other.

install.sh lays them down: `releases/NAME` with `venv`, `bundle` and `package.conf`, the links `current` and `previous`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.device.archives import SETTINGS, read_settings
from edge_runtime.drafts import hold
from edge_runtime.errors import DataError, StorageError
from edge_runtime.whole_files import exchange, sync_folder

CURRENT, PREVIOUS = "current", "previous"
RELEASES = "releases"
_GIVEN_NAME = re.compile(r"fracture-edge-(?P<id>[0-9a-f]+)-(?P<number>[0-9]+)")


@dataclass(frozen=True)
class Release:
    """One installed version."""

    folder: Path  # PREFIX/releases/NAME

    @property
    def settings(self) -> dict[str, str]:
        """What its package said: version, number, engine and so on; empty where it is no longer there."""
        try:
            return read_settings(self.folder / SETTINGS)
        except (OSError, ValueError):
            return {}

    @property
    def bundle(self) -> Path:
        """Its network."""
        return self.folder / "bundle"

    def program(self, name: str) -> Path:
        """One of its commands."""
        return self.folder / "venv" / "bin" / name


def release_at(prefix: Path, link: str) -> Release | None:
    """The release that CURRENT or PREVIOUS leads to; None where there is none."""
    folder = prefix / link
    return Release(folder.resolve()) if folder.is_symlink() and folder.is_dir() else None


def release_in_use(prefix: Path) -> Release:
    """The current release.

    Raises:
        DataError: nothing is installed there.
    """
    release = release_at(prefix, CURRENT)
    if release is None:
        raise DataError(f"{prefix}: nothing is installed there; give --prefix DIR")
    return release


@contextlib.contextmanager
def alone_at_work(prefix: Path) -> Iterator[None]:
    """Keeps install.sh and others like us away from the prefix until the block ends.

    Raises:
        StorageError: one of them is at work there.
    """
    try:
        held = hold(prefix / RELEASES)
    except BlockingIOError as error:
        raise StorageError(f"{prefix}: an installation is at work there") from error
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def change_places(prefix: Path) -> None:
    """Current and previous release change places, in one rename.

    Where the system has no such rename it takes two; a kill between them leaves the earlier one in use.
    """
    current, previous = prefix / CURRENT, prefix / PREVIOUS
    if not exchange(current, previous):
        aside = os.readlink(current)
        point(prefix, CURRENT, os.readlink(previous))
        point(prefix, PREVIOUS, aside)
    sync_folder(prefix)


def point(prefix: Path, link: str, target: str) -> None:
    """Makes a link that is in use lead elsewhere, in one rename.

    Args:
        prefix: where it is.
        link: CURRENT or PREVIOUS.
        target: relative to the prefix.
    """
    draft = prefix / f".{link}.new"  # the name that install.sh gives it, so that either clears up after the other
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    os.rename(draft, prefix / link)


def put_in_use(prefix: Path, release: Release) -> None:
    """The release becomes the current one, and the current one the previous."""
    point(prefix, PREVIOUS, os.readlink(prefix / CURRENT))
    point(prefix, CURRENT, f"{RELEASES}/{release.folder.name}")
    sync_folder(prefix)


def new_release(prefix: Path, identity: str) -> Release:
    """An empty folder for a release.

    Args:
        prefix: where it will be.
        identity: hexadecimal, of what is in it.
    """
    number = 1
    while (folder := prefix / RELEASES / f"fracture-edge-{identity}-{number}").exists():
        number += 1
    folder.mkdir(mode=0o755)
    return Release(folder)


def clear_releases(prefix: Path) -> None:
    """Removes releases that neither link leads to: unfinished ones, and those before the previous."""
    kept = {release.folder.name for link in (CURRENT, PREVIOUS) if (release := release_at(prefix, link))}
    for folder in (prefix / RELEASES).iterdir():
        if _GIVEN_NAME.fullmatch(folder.name) and folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
