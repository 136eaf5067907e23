"""What lies in a watched folder: image files with size and time, found by listing it again and again.

Listing and not inotify: the kernel tells nothing of what other machines write to a network share, and loses events
when its queue overflows. A listing misses nothing; one of 10,000 files takes 65 milliseconds on a desktop.

Files count as in `find_images`: by their suffix, in subfolders too, links to files but not to folders. Hidden files and
folders do not count, nor does any other suffix: programs that write `x.png.part` or `.x.png` and rename are at ease.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_runtime.images import is_visible_image
from edge_runtime.watching.fingerprints import fingerprint


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


def sightings(folder: str, tell: Callable[[str, str], None]) -> Iterator[Sighting]:
    """Every image file below a folder, in no order.

    Args:
        folder: absolute.
        tell: gets each subfolder that cannot be listed, and why.

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
                    elif is_visible_image(entry.name) and (seen := look(entry.path)):
                        yield seen
        except OSError as error:
            if parent == folder:
                raise
            if not isinstance(error, FileNotFoundError):  # removed just now
                tell(parent, f"cannot be listed: {error.strerror}; it is left out")
