"""What lies in a watched folder: image files with size and time, found by listing it again and again.

Listing and not inotify: the kernel tells nothing of what other machines write to a network share, and loses events
when its queue overflows. A listing misses nothing; one of 10,000 files takes 65 milliseconds on a desktop.

Every file counts, in subfolders too, links to files but not to folders: DICOM files often have no suffix, and what
nobody can judge gets its error line in place of silence. Hidden files do not count, nor do those whose suffix says that
they are being written: programs that write `x.png.part` or `.x.png` and rename are at ease.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_runtime.watching.fingerprints import fingerprint

# Of programs that copy or download, until they rename; of editors; and what systems leave in folders by themselves.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp", "~")
_OF_THE_SYSTEM = frozenset({"desktop.ini", "thumbs.db"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """One version of one file: replaced in place, it is another."""

    path: str  # absolute
    size: int  # bytes
    modified_us: int  # time of the last change, microseconds since 1970

    @property
    def fingerprint(self) -> int:
        """64 bits that stand for it."""
        return fingerprint(self.path, self.size, self.modified_us)


def look(path: str) -> Sighting | None:
    """The file as it is now; None where there is no regular file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # gone, a link to nowhere, a share that is away: the next listing tells
        return None
    # A named pipe would hold up its reader for ever.
    return Sighting(path, status.st_size, status.st_mtime_ns // 1000) if stat.S_ISREG(status.st_mode) else None


def _counts(name: str) -> bool:
    low = name.lower()
    return not name.startswith(".") and low not in _OF_THE_SYSTEM and not low.endswith(_UNFINISHED)


def sightings(
    folder: str, tell: Callable[[str, str], None], is_left_out: Callable[[str], bool] = lambda path: False
) -> Iterator[Sighting]:
    """Every file below a folder that is to be judged, in no order.

    Args:
        folder: absolute.
        tell: gets each subfolder that cannot be listed, and why.
        is_left_out: says of a path that it is not to be judged.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    waiting = [folder]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(parent) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [] if entry.name.startswith(".") else [entry.path]
                    elif _counts(entry.name) and not is_left_out(entry.path) and (seen := look(entry.path)):
                        yield seen
        except OSError as error:
            if parent == folder:
                raise
            if not isinstance(error, FileNotFoundError):  # removed just now
                tell(parent, f"cannot be listed: {error.strerror}; it is left out")
