"""Files and folders that appear whole or not at all, though the process is killed or power is cut.

Everything is made as a draft beside its place and gets its name by one rename. A folder that replaces another changes
places with it in one step (Linux: renameat2 with RENAME_EXCHANGE), so that one of the two stands there at any moment.
Where the system has no such step two renames do it, and the next start brings back the earlier folder that a kill
between them left aside.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_runtime.drafts import (
    ASIDE,
    abandoned,
    clear_drafts,
    draft_name,
    leftovers,
    lock,
    new_draft_file,
    new_draft_folder,
    remove_abandoned,
)
from edge_runtime.errors import DataError

_AT_CURRENT_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
_NO_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})  # of the kernel, of the file system
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})  # some network file systems

IsOurs = Callable[[Path], bool]  # tells a folder that may be replaced by what is in it


@contextlib.contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """The path of an empty draft, which becomes `path` when the block ends, and vanishes when it fails.

    Args:
        path: in an existing folder; a file there is replaced.
        durable: wait until it is on the disk. Without it a power cut may leave an empty file.
    """
    clear_drafts(path.parent)
    draft, held = new_draft_file(path)
    try:
        yield draft
        if durable:
            os.fsync(held)
        os.replace(draft, path)
        if durable:
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # what cannot be removed now the next start removes
            draft.unlink(missing_ok=True)
        os.close(held)


def write_whole(path: Path, content: str | bytes, durable: bool = True) -> None:
    """Writes a file, text as UTF-8; file names in it that are no text keep their bytes."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    with whole_file(path, durable) as draft:
        draft.write_bytes(data)


@contextlib.contextmanager
def whole_folder(target: Path, is_ours: IsOurs | None = None) -> Iterator[Path]:
    """An empty draft folder, which becomes the target when the block ends, and vanishes when it fails.

    Args:
        target: its parents are made. It must not exist, or be an empty folder, or one that `is_ours`.
        is_ours: tells what may be replaced. None: nothing.

    Raises:
        DataError: the target holds something else; nothing of it is touched.
    """
    target = Path(os.path.realpath(target))  # a link stays, and what it leads to is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(target)
    require_replaceable(target, is_ours)
    draft, held = new_draft_folder(target)
    try:
        yield draft
        publish_folder(draft, target, is_ours)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(held)


def require_replaceable(target: Path, is_ours: IsOurs | None = None, called: str = "") -> None:
    """Refuses a target that holds anything that is not ours to replace.

    Args:
        target: may exist or not.
        is_ours: tells what may be replaced. None: nothing.
        called: what the target is to be called in a message.

    Raises:
        DataError: it does.
    """
    if not os.path.lexists(target):
        return
    if target.is_dir() and (not any(target.iterdir()) or (is_ours is not None and is_ours(target))):
        return
    raise DataError(f"{called or target}: exists and is something else; nothing was overwritten, name another folder")


def publish_folder(folder: Path, target: Path, is_ours: IsOurs | None = None) -> None:
    """Gives a finished folder its name, after all of it is on the disk; what stood there is removed.

    Raises:
        DataError: the target now holds something that is not ours; it is left as it was.
    """
    sync_tree(folder)
    if not target.is_dir() or not any(target.iterdir()):
        os.rename(folder, target)
        sync_folder(target.parent)
        return
    held = lock(target)  # so that nobody clears it away, in its new place, before we know that it is ours
    try:
        earlier = _change_places(folder, target)
        try:
            require_replaceable(earlier, is_ours, str(target))  # again: the work may have taken hours
        except BaseException:
            _change_back(folder, target, earlier)
            raise
        sync_folder(target.parent)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        if held is not None:
            os.close(held)


def recover_folder(target: Path) -> None:
    """Brings back what a kill between two renames left aside, and removes what killed processes left."""
    for path in leftovers(target.parent, ASIDE, target.name):
        with abandoned(path) as is_abandoned:
            if is_abandoned and not os.path.lexists(target):
                os.rename(path, target)
        remove_abandoned(path)
    clear_drafts(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Whether two names changed places, in one step; False where the system has no such step."""
    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_CURRENT_FOLDER, os.fsencode(one), _AT_CURRENT_FOLDER, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def sync_tree(folder: Path) -> None:
    """Waits until every file below a folder, and every name, is on the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for path in (os.path.join(parent, name) for name in names):
            if not os.path.islink(path):
                _sync(path, os.O_RDONLY)
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _sync(path: Path | str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _change_places(folder: Path, target: Path) -> Path:
    """Where what stood at the target is now."""
    if exchange(folder, target):
        return folder
    aside = draft_name(target, ASIDE)
    os.rename(target, aside)
    try:
        os.rename(folder, target)
    except OSError:
        os.rename(aside, target)
        raise
    return aside


def _change_back(folder: Path, target: Path, earlier: Path) -> None:
    if earlier == folder:
        exchange(folder, target)
    else:
        os.rename(target, folder)
        os.rename(earlier, target)


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # another system, or a C library before glibc 2.28
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function
