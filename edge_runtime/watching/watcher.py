"""Judges each new image in a folder once, for months, across restarts and power cuts.

An image is one version of a file: its path, size and time of change. It is judged when it was the same in two listings
at least `poll_s` apart, and still is the same after it was decoded; what a slow program goes on writing is another
version, so nothing is lost by judging too early. A file that cannot be decoded gets `settle_s` to become whole, then
one error line; one that lacks the end of its format, or whose format has none, gets as long before it is judged, and
six times as long where it ends in zeros (`file_endings.py`). What was judged is read from the results file at the
start; nothing else is kept, but for the one image in work (`attempts.py`).
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DataError, DependencyError, ImageError, StorageError
from edge_runtime.json_lines import encode_line, failure_record
from edge_runtime.limits import DEFAULT_LIMITS, Limits
from edge_runtime.loading import load_predictor
from edge_runtime.watching.attempts import MOST_ATTEMPTS, Attempts
from edge_runtime.watching.file_endings import times_to_settle
from edge_runtime.watching.fingerprints import Fingerprints, fingerprint
from edge_runtime.watching.results_file import ResultsFile
from edge_runtime.watching.stop_signals import StopSignals, Terminated

if TYPE_CHECKING:
    from edge_runtime.predictor import Predictor
    from edge_runtime.watching.folder import Sighting

BATCH = 1000  # files judged between two listings, so that a full folder needs no more memory than an empty one
LISTING_SHARE = 5  # a pause is at least this many times as long as a listing, however many files lie in the folder

Tell = Callable[[str], None]  # shows a message to people


@dataclass(frozen=True)
class WatchSettings:
    """One watched folder."""

    folder: Path  # to be watched
    results: Path  # file for the lines, and the memory of what was judged
    poll_s: float  # seconds between two listings
    settle_s: float  # seconds that a file that cannot be decoded may stay unchanged before its error is final
    model: Path | None = None  # as for `Predictor`
    engine: str = "auto"  # as for `Predictor`
    threads: int | None = None  # as for `Predictor`
    radiograph_gate: bool = True  # as for `Predictor`
    limits: Limits = DEFAULT_LIMITS  # as for `Predictor`
    operating_point: str | None = None  # as for `Predictor`


def watch(settings: WatchSettings, tell: Tell) -> None:
    """Judges what appears in the folder until SIGTERM comes. To be called in the main thread.

    Raises:
        KeyboardInterrupt: SIGINT came.
        DataError: the results have the name of an image.
        ModelError, DependencyError: as `Predictor`.
        StorageError: the results cannot be written, for another reason than a full disk.
    """
    with StopSignals() as stop:
        # numpy starts threads: inside the block, see StopSignals.
        predictor = load_predictor(
            settings.model,
            settings.engine,
            settings.threads,
            settings.radiograph_gate,
            settings.limits,
            settings.operating_point,
        )
        from edge_runtime.images import is_visible_image

        if is_visible_image(settings.results.name):
            raise DataError(f"{settings.results}: a name for an image: in the folder it would be judged itself")
        with closing(ResultsFile(settings.results)) as results, closing(Attempts(settings.results)) as attempts:
            if results.repair:
                tell(f"{settings.results}: {results.repair}")
            try:
                _Watcher(settings, results, attempts, predictor, stop, tell).run()
            except Terminated:
                tell("terminated")


class _Watcher:
    """The state of one run."""

    def __init__(
        self,
        settings: WatchSettings,
        results: ResultsFile,
        attempts: Attempts,
        predictor: Predictor,
        stop: StopSignals,
        tell: Tell,
    ) -> None:
        self._folder = os.path.realpath(settings.folder)  # one name for a file, however the folder was spelled
        self._results_path = os.path.realpath(settings.results)
        self._settings, self._results, self._attempts, self._predictor = settings, results, attempts, predictor
        self._stop, self._tell = stop, tell
        self._judged = Fingerprints(map(_remembered, results.records()))
        self._before = Fingerprints()  # of the files not judged, in the last listing
        self._doubtful: dict[int, float] = {}  # fingerprint of a file that seems incomplete -> when that is final
        self._told: dict[str, str] = {}  # what is wrong now, by its place: told when it begins and when it ends

    def run(self) -> None:
        self._tell(f"watching {self._folder}; judged before: {len(self._judged)}")
        while True:
            start = time.monotonic()
            batch = self._list()
            listed_s = time.monotonic() - start
            for file in batch:
                self._stop.wait(0)
                self._judge(file)
            # With files left over the next listing is due as soon as it is far enough from this one.
            pause_s = 0.0 if len(batch) == BATCH else max(self._settings.poll_s, LISTING_SHARE * listed_s)
            self._stop.wait(max(pause_s, self._settings.poll_s - (time.monotonic() - start)))

    def _list(self) -> list[Sighting]:
        """The files that have not changed since the last listing and are due, the oldest first."""
        from edge_runtime.watching.folder import sightings

        now, unjudged = time.monotonic(), Fingerprints()

        def is_due(file: Sighting) -> bool:
            number = file.fingerprint
            if number in self._judged:
                return False
            unjudged.add(number)
            return number in self._before and self._doubtful.get(number, now) <= now

        try:
            found = filter(is_due, sightings(self._folder, self._begin_trouble, self._is_ours))
            batch = heapq.nsmallest(BATCH, found, key=lambda file: (file.modified_us, file.path))
        except OSError as error:
            self._begin_trouble(self._folder, f"cannot be listed: {error.strerror}; waiting for it")
            batch, unjudged = [], Fingerprints()
        else:
            self._end_trouble(self._folder)
        self._before = unjudged
        self._doubtful = {number: due for number, due in self._doubtful.items() if number in unjudged}
        return batch

    def _is_ours(self, path: str) -> bool:
        """Whether a file is one of those that the watcher itself writes, which may stand in the folder."""
        return path.startswith(self._results_path)

    def _judge(self, file: Sighting) -> None:
        """Writes the line of a file, unless it changes meanwhile or may yet become whole."""
        from edge_runtime.watching.folder import look

        if look(file.path) != file:
            return
        times = times_to_settle(file.path)
        if times and not self._is_final(file.fingerprint, times):
            return
        try:
            record = self._predict(file)
        except (ImageError, DependencyError, StorageError) as error:
            if not self._is_final(file.fingerprint):
                return
            record = failure_record(file.path, error)
        if look(file.path) == file:
            self._append(file, record)

    def _predict(self, file: Sighting) -> dict[str, Any]:
        if not self._attempts.begin(file.fingerprint):
            message = f"{file.path}: given up: the process ended {MOST_ATTEMPTS} times while it judged this image"
            self._doubtful[file.fingerprint] = 0.0  # final at once
            raise ImageError(message, "unreadable")
        try:
            record = self._predictor.predict(Path(file.path)).to_dict()
        except (ImageError, DependencyError, StorageError):
            self._attempts.end()
            raise
        self._attempts.end()
        return record

    def _is_final(self, number: int, times: int = 1) -> bool:
        """Whether a file that may be incomplete has had its time, which starts with the first look."""
        now = time.monotonic()
        return now >= self._doubtful.setdefault(number, now + times * self._settings.settle_s)

    def _append(self, file: Sighting, record: dict[str, Any]) -> None:
        line = encode_line(record | {"file": {"size": file.size, "modified_us": file.modified_us}})
        while not self._results.append(line):
            self._begin_trouble(str(self._results.path), "no room on the disk; waiting for it")
            self._stop.wait(self._settings.poll_s)
        self._end_trouble(str(self._results.path))
        self._judged.add(file.fingerprint)
        self._doubtful.pop(file.fingerprint, None)

    def _begin_trouble(self, place: str, message: str) -> None:
        if self._told.get(place) != message:
            self._told[place] = message
            self._tell(f"{place}: {message}")

    def _end_trouble(self, place: str) -> None:
        if self._told.pop(place, None):
            self._tell(f"{place}: is there again")


def _remembered(record: dict[str, Any]) -> int:
    """The fingerprint of the file that a line is about; of no file where the line was not written by a watcher."""
    try:
        return fingerprint(record["path"], int(record["file"]["size"]), int(record["file"]["modified_us"]))
    except (LookupError, TypeError, ValueError):
        return fingerprint("", 0, 0)
