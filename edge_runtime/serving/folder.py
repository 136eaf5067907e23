"""A watched folder as one more source of the same queue: `edge-serve --watch`.

When an image is due is the business of `watching/arrivals.py`, as for `edge-infer --watch`. What was judged is in the
store. The results file is its export, a line an image: lines of an earlier watcher are taken in at the start, so that
nothing is judged anew, and a line that a kill kept from being written is written then.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_runtime.errors import DataError, StorageError
from edge_runtime.images import is_visible_image
from edge_runtime.json_lines import encode_line
from edge_runtime.serving.judging import answer_in
from edge_runtime.serving.parts import Parts
from edge_runtime.serving.sidecars import SIDECARS, write_sidecars
from edge_runtime.watching.arrivals import NO_FILE, Arrivals, Patience, Troubles, line_of, real_folder, remembered
from edge_runtime.watching.attempts import Attempts
from edge_runtime.watching.fingerprints import Fingerprints
from edge_runtime.watching.folder import Sighting
from edge_runtime.watching.results_file import ResultsFile

SOURCE = "folder"
_CHANNEL = "results"  # of the store: lines that are not yet in the file
_HIDDEN = "-"  # in place of a file's name


@dataclass(frozen=True)
class FolderSettings:
    """One watched folder."""

    folder: Path  # to be watched
    results: Path  # file for the lines
    sidecars: bool = False  # put answer and heatmap beside each image
    patience: Patience = Patience()

    def check(self) -> None:
        """Refuses what would be judged itself.

        Raises:
            DataError: the results have the name of an image.
        """
        if is_visible_image(self.results.name):
            raise DataError(f"{self.results}: a name for an image: in the folder it would be judged itself")


class FolderSource(threading.Thread):
    """The thread that watches.

    Args:
        settings: of the folder.
        parts: of the server that it stands in.
        tell: for a line to the log.

    Raises:
        StorageError: the results file cannot be used.
    """

    def __init__(self, settings: FolderSettings, parts: Parts, tell: Callable[[str], None]) -> None:
        super().__init__(name="folder", daemon=True)
        self._settings, self._parts, self._tell = settings, parts, tell
        self._ending, self._troubles = threading.Event(), Troubles(tell)
        self._attempts = Attempts(parts.store.path.parent / "folder")
        self._own = (os.path.realpath(settings.results), os.path.realpath(parts.store.path.parent) + os.sep)
        self._results: ResultsFile | None = ResultsFile(settings.results)
        if self._results.repair:
            tell(f"{settings.results}: {self._results.repair}")
        judged = self._take_in(self._results)
        self._arrivals = Arrivals(
            real_folder(settings.folder), judged, self._attempts, settings.patience, self._is_ours, self._troubles
        )

    def stop(self) -> None:
        """Ends after the image in hand."""
        self._ending.set()
        if self.ident is not None:
            self.join()
        self._attempts.close()
        if self._results is not None:
            self._results.close()

    def run(self) -> None:
        self._tell(f"watching {self._arrivals.folder}; judged before: {self._arrivals.judged}")
        while not self._ending.is_set():
            start = time.monotonic()
            batch = self._arrivals.list()
            for file in batch:
                if self._ending.is_set():
                    return
                self._take(file)
            self._export()
            self._ending.wait(self._arrivals.pause_s(len(batch), time.monotonic() - start))

    def _take_in(self, results: ResultsFile) -> Iterable[int]:
        """Fingerprints of all files that have an answer, in the store or in the results file."""
        store = self._parts.store
        known = Fingerprints(int(key.partition(":")[2], 16) for key in store.keys(SOURCE))
        written = Fingerprints(map(remembered, results.records()))
        for waiting in store.undelivered(_CHANNEL, -1):
            if remembered(json.loads(waiting.line or "{}")) in written:  # killed before it was struck off
                store.delivered(_CHANNEL, waiting.item)
        numbered = ((remembered(record), record) for record in results.records())
        new = (
            (_key(number), _day_of(record), self._kept(record))
            for number, record in numbered
            if number != NO_FILE and number not in known
        )
        taken = store.take_in(SOURCE, new)
        if taken:
            self._tell(f"{results.path}: {taken} answers of an earlier watcher taken in; nothing is judged anew")
        return itertools.chain(known, written)

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._own) or path.endswith(SIDECARS)

    def _answer(self, path: Path) -> dict[str, Any]:
        judging = self._parts.judging
        return judging.submit(path, self._settings.sidecars and judging.predictor.has_heatmap).result()

    def _take(self, file: Sighting) -> None:
        """Judges a file, and keeps its answer, unless it changes meanwhile or may yet become whole."""
        start = time.perf_counter()
        record = self._arrivals.judge(file, self._answer)
        if record is None:
            return
        if self._settings.sidecars:
            self._put_beside(file, record)
        record.pop("heatmap", None)
        try:
            self._keep(file, record)
        except StorageError as error:
            self._troubles.begin(str(self._parts.store.path), f"{error}; the image is judged again")
            return
        self._troubles.end(str(self._parts.store.path))
        self._arrivals.keep(file)
        with contextlib.suppress(StorageError):  # said at the next image, or on the page
            self._parts.drift.today()
        self._parts.metrics.count_answer(SOURCE, record.get("decision", "error"), time.perf_counter() - start)
        self._export()

    def _keep(self, file: Sighting, record: dict[str, Any]) -> None:
        now = datetime.now().astimezone()
        known = None
        if self._parts.show_identifiers:
            known = {"name": os.path.relpath(file.path, self._arrivals.folder), "time": now.isoformat("T", "seconds")}
        line = encode_line(line_of(file, answer_in(record))).decode()
        key, day = _key(file.fingerprint), now.date().isoformat()
        if self._parts.store.state_of(key) is None:  # kept by a step that failed after that
            self._parts.store.answered(SOURCE, day, self._kept(record), known, key, (_CHANNEL, line))

    def _kept(self, record: dict[str, Any]) -> dict[str, Any]:
        """What the store keeps of a line: names only where they are to be shown."""
        kept = {name: value for name, value in record.items() if name not in ("heatmap", "file")}
        if self._parts.show_identifiers:
            return kept
        if "error" in kept:
            message = str(kept["error"].get("message", "")).replace(str(kept.get("path", "")), _HIDDEN)
            kept["error"] = kept["error"] | {"message": message}
        return kept | {"path": _HIDDEN}

    def _put_beside(self, file: Sighting, record: dict[str, Any]) -> None:
        place = os.path.dirname(file.path)
        try:
            write_sidecars(file, record, self._parts.judging.predictor.limits)
        except OSError as error:
            self._troubles.begin(place, f"answers cannot be put beside their images: {error.strerror}")
        else:
            self._troubles.end(place)

    def _export(self) -> None:
        """Writes what the results file does not hold yet; what cannot be written waits."""
        place, store = str(self._settings.results), self._parts.store
        try:
            if self._results is None:
                self._results = ResultsFile(self._settings.results)
            while waiting := store.undelivered(_CHANNEL):
                for delivery in waiting:
                    if not self._results.append((delivery.line or "").encode()):
                        self._troubles.begin(place, "no room on the disk; lines wait for it")
                        return
                    store.delivered(_CHANNEL, delivery.item)
        except StorageError as error:
            # Removed or changed by another program: it is an export, and opened again.
            gone = self._results is not None and not self._settings.results.exists()
            self._troubles.begin(place, "was removed; a new one is begun" if gone else f"{error}; lines wait")
            if self._results is not None:
                self._results.close()
            self._results = None
        else:
            self._troubles.end(place)


def _key(number: int) -> str:
    return f"{SOURCE}:{number:016x}"


def _day_of(record: dict[str, Any]) -> str:
    """The day of the image: when it was judged its line does not say."""
    try:
        return datetime.fromtimestamp(record["file"]["modified_us"] / 1e6).astimezone().date().isoformat()
    except (OverflowError, OSError, ValueError):
        return "1970-01-01"
