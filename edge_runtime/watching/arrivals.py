"""Which files of a folder are due to be judged, and whether an answer is final: what all who watch a folder share.

An image is one version of a file: its path, size and time of change. It is judged when it was the same in two listings
at least `poll_s` apart, and still is the same after it was decoded; what a slow program goes on writing is another
version, so nothing is lost by judging too early. A file that cannot be decoded gets `settle_s` to become whole, then
one error line; one that lacks the end of its format, or whose format has none, gets as long before it is judged, and
six times as long where it ends in zeros (`file_endings.py`). Who calls keeps what was judged, and answers for it.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import ImageError
from edge_runtime.json_lines import failure_record
from edge_runtime.watching.attempts import MOST_ATTEMPTS, Attempts
from edge_runtime.watching.file_endings import times_to_settle
from edge_runtime.watching.fingerprints import Fingerprints, fingerprint
from edge_runtime.watching.folder import Sighting, look, sightings

BATCH = 1000  # files judged between two listings, so that a full folder needs no more memory than an empty one
NO_FILE = fingerprint("", 0, 0)
LISTING_SHARE = 5  # a pause is at least this many times as long as a listing, however many files lie in the folder

Tell = Callable[[str], None]  # shows a message to people


@dataclass(frozen=True)
class Patience:
    """How long is waited for a file."""

    poll_s: float = 1.0  # seconds between two listings
    settle_s: float = 10.0  # seconds that a file that cannot be decoded may stay unchanged before its error is final


class Troubles:
    """What is wrong now, by its place: told when it begins and when it ends, and not each time it is met."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: dict[str, str] = {}

    def begin(self, place: str, message: str) -> None:
        """Something is wrong there."""
        if self._told.get(place) != message:
            self._told[place] = message
            self._tell(f"{place}: {message}")

    def end(self, place: str) -> None:
        """Nothing is wrong there."""
        if self._told.pop(place, None):
            self._tell(f"{place}: is there again")


class Arrivals:
    """The files of one folder that have no answer yet.

    Args:
        folder: to be watched; absolute, without links on its way.
        judged: fingerprints of files that have their answer.
        attempts: how often the process ended at an image.
        patience: how long is waited for a file.
        is_left_out: says of a path that it is not to be judged.
        troubles: told what cannot be listed.
    """

    def __init__(
        self,
        folder: str,
        judged: Iterable[int],
        attempts: Attempts,
        patience: Patience,
        is_left_out: Callable[[str], bool],
        troubles: Troubles,
    ) -> None:
        self.folder, self._attempts, self._patience = folder, attempts, patience
        self._is_left_out, self._troubles = is_left_out, troubles
        self._judged = Fingerprints(judged)
        self._before = Fingerprints()  # of the files not judged, in the last listing
        self._doubtful: dict[int, float] = {}  # fingerprint of a file that seems incomplete -> when that is final
        self._listing_s = 0.0  # that the last listing took

    @property
    def judged(self) -> int:
        """How many files have their answer."""
        return len(self._judged)

    def list(self) -> list[Sighting]:
        """The files that have not changed since the last listing and are due, the oldest first."""
        start = now = time.monotonic()
        unjudged = Fingerprints()

        def is_due(file: Sighting) -> bool:
            number = file.fingerprint
            if number in self._judged:
                return False
            unjudged.add(number)
            return number in self._before and self._doubtful.get(number, now) <= now

        try:
            found = filter(is_due, sightings(self.folder, self._troubles.begin, self._is_left_out))
            batch = heapq.nsmallest(BATCH, found, key=lambda file: (file.modified_us, file.path))
        except OSError as error:
            self._troubles.begin(self.folder, f"cannot be listed: {error.strerror}; waiting for it")
            batch, unjudged = [], Fingerprints()
        else:
            self._troubles.end(self.folder)
        self._before = unjudged
        self._doubtful = {number: due for number, due in self._doubtful.items() if number in unjudged}
        self._listing_s = time.monotonic() - start
        return batch

    def pause_s(self, batch: int, since_s: float) -> float:
        """Seconds until the next listing.

        Args:
            batch: files that the last one found due.
            since_s: seconds since it began.
        """
        # With files left over the next listing is due as soon as it is far enough from this one.
        pause_s = 0.0 if batch == BATCH else max(self._patience.poll_s, LISTING_SHARE * self._listing_s)
        return max(pause_s, self._patience.poll_s - since_s)

    def judge(self, file: Sighting, answer: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
        """The record of a file; None where it changes meanwhile or may yet become whole.

        Args:
            file: of the last listing.
            answer: gives the record of an image, or that of its error.
        """
        if look(file.path) != file:
            return None
        times = times_to_settle(file.path)
        if times and not self._is_final(file.fingerprint, times):
            return None
        if self._attempts.begin(file.fingerprint):
            record = answer(Path(file.path))
            self._attempts.end()
            if "error" in record and not self._is_final(file.fingerprint):
                return None
        else:
            message = f"{file.path}: given up: the process ended {MOST_ATTEMPTS} times while it judged this image"
            record = failure_record(file.path, ImageError(message, "unreadable"))
        return record if look(file.path) == file else None

    def keep(self, file: Sighting) -> None:
        """The answer of a file is kept: it is not judged again."""
        self._judged.add(file.fingerprint)
        self._doubtful.pop(file.fingerprint, None)

    def _is_final(self, number: int, times: int = 1) -> bool:
        """Whether a file that may be incomplete has had its time, which starts with the first look."""
        now = time.monotonic()
        return now >= self._doubtful.setdefault(number, now + times * self._patience.settle_s)


def line_of(file: Sighting, record: dict[str, Any]) -> dict[str, Any]:
    """What a results file holds of an image: its record, and which version of the file it was."""
    return record | {"path": file.path, "file": {"size": file.size, "modified_us": file.modified_us}}


def remembered(record: dict[str, Any]) -> int:
    """The fingerprint of the file that a line is about; of no file where the line was not written by a watcher."""
    try:
        return fingerprint(record["path"], int(record["file"]["size"]), int(record["file"]["modified_us"]))
    except (LookupError, TypeError, ValueError):
        return NO_FILE


def real_folder(folder: Path) -> str:
    """One name for a folder, however it was spelled."""
    return os.path.realpath(folder)
