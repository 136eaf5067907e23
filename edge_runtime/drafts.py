"""Drafts: what is being made under a name of its own, `.NAME.xTOKEN.draft`, and what killed processes left of it.

Whoever makes a draft holds a lock (flock) on it, which the kernel gives back however the process ends. So a draft
without a holder is what a killed process left, and the next writer beside it removes it; a draft that is held, or whose
file system knows no locks, is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

DRAFT, ASIDE = "draft", "earlier"
# A token of ours; digits alone, the number of a process, are how earlier versions named drafts.
_OURS = re.compile(r"\.(?P<name>.+)\.(?P<token>x[0-9a-f]{16}|\d+)\.(?P<kind>draft|earlier)", re.DOTALL)
_TRIES = 8  # each is lost only where another process clears up between making a draft and locking it


def draft_name(target: Path, kind: str = DRAFT) -> Path:
    """A new name beside a target."""
    return target.with_name(f".{target.name}.x{secrets.token_hex(8)}.{kind}")


def new_draft_file(target: Path, mode: int = 0o666) -> tuple[Path, int]:
    """(path, open descriptor that holds the lock) of an empty file beside its place."""
    return _new_draft(target, lambda path: _create_file(path, mode))


def new_draft_folder(target: Path, mode: int = 0o777) -> tuple[Path, int]:
    """(path, open descriptor that holds the lock) of an empty folder beside its place."""
    return _new_draft(target, lambda path: _create_folder(path, mode))


@contextlib.contextmanager
def scratch_folder(purpose: str, place: Path | None = None) -> Iterator[Path]:
    """A folder for temporary files, for this user alone, until the block ends; those of killed processes go first.

    Args:
        purpose: part of its name.
        place: where it is made; None: where the system has its temporary files.
    """
    place = place or Path(tempfile.gettempdir())
    clear_drafts(place)
    draft, held = new_draft_folder(place / purpose, 0o700)
    try:
        yield draft
    finally:
        remove(draft)
        os.close(held)


@contextlib.contextmanager
def temporary_files_of(command: str) -> Iterator[None]:
    """Lets every temporary file, of libraries and child processes too, be made in a scratch folder of the command."""
    with scratch_folder(command) as folder:
        before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
            if variable is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = variable


def clear_drafts(folder: Path) -> None:
    """Removes the drafts in a folder that no living process holds."""
    for path in leftovers(folder, DRAFT):
        remove_abandoned(path)


def leftovers(folder: Path, kind: str, name: str | None = None) -> list[Path]:
    """Drafts, or folders left aside, in a folder: of one target's name, or of all."""
    try:
        matches = [_OURS.fullmatch(entry) for entry in os.listdir(folder)]
    except OSError:  # not there, or not to be listed: nothing to clear
        return []
    return [folder / match[0] for match in matches if match and match["kind"] == kind and name in (None, match["name"])]


def remove_abandoned(path: Path) -> None:
    """Removes a draft that no living process holds."""
    with abandoned(path) as is_abandoned:
        if is_abandoned:
            remove(path)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all in it; what refuses to go stays, for the next start."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether no process holds a draft; the answer stays true until the block ends, for meanwhile we hold it."""
    held, match = None, _OURS.fullmatch(path.name)
    if match is not None and not (match["token"].isdigit() and os.path.exists(f"/proc/{match['token']}")):
        held = lock(path)
    try:
        yield held is not None
    finally:
        if held is not None:
            os.close(held)


def is_draft(path: Path) -> bool:
    """Whether a path bears the name of a draft."""
    return _OURS.fullmatch(path.name) is not None


def hold(folder: Path) -> int | None:
    """An open descriptor that holds the lock on a folder; None where the file system has no locks.

    Raises:
        BlockingIOError: another process holds it, or has just removed the folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (folder.exists() and os.path.samestat(os.fstat(descriptor), os.stat(folder))):
            raise BlockingIOError(errno.EWOULDBLOCK, "was removed just now", str(folder))
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def lock(path: Path) -> int | None:
    """An open descriptor that holds the lock on what stands at a path; None where another holds it, or none can."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    os.close(descriptor)
    return None


def _new_draft(target: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    for _ in range(_TRIES):
        draft = draft_name(target)
        with contextlib.suppress(FileNotFoundError):  # cleared by another before we held it
            descriptor = create(draft)
            with contextlib.suppress(OSError):  # where there are no locks nobody clears drafts either
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(draft) and os.path.samestat(os.fstat(descriptor), os.lstat(draft)):
                return draft, descriptor
            os.close(descriptor)
        if not target.parent.is_dir():
            break
    raise FileNotFoundError(errno.ENOENT, "no draft can be made in its folder", str(target))


def _create_file(path: Path, mode: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)


def _create_folder(path: Path, mode: int) -> int:
    path.mkdir(mode)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
