"""Judges each new image in a folder once, for months, across restarts and power cuts: `edge-infer --watch`.

When an image is due and when its answer is final: `arrivals.py`. What was judged is read from the results file at the
start; nothing else is kept, but for the one image in work (`attempts.py`).
"""

from __future__ import annotations

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
from edge_runtime.watching.arrivals import Arrivals, Patience, Troubles, line_of, real_folder, remembered
from edge_runtime.watching.attempts import Attempts
from edge_runtime.watching.results_file import ResultsFile
from edge_runtime.watching.stop_signals import StopSignals, Terminated

if TYPE_CHECKING:
    from edge_runtime.predictor import Predictor
    from edge_runtime.watching.folder import Sighting

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
        self._results_path = os.path.realpath(settings.results)
        self._settings, self._results, self._predictor = settings, results, predictor
        self._stop, self._tell, self._troubles = stop, tell, Troubles(tell)
        judged, patience = map(remembered, results.records()), Patience(settings.poll_s, settings.settle_s)
        folder = real_folder(settings.folder)
        self._arrivals = Arrivals(folder, judged, attempts, patience, self._is_ours, self._troubles)

    def run(self) -> None:
        self._tell(f"watching {self._arrivals.folder}; judged before: {self._arrivals.judged}")
        while True:
            start = time.monotonic()
            batch = self._arrivals.list()
            for file in batch:
                self._stop.wait(0)
                record = self._arrivals.judge(file, self._answer)
                if record is not None:
                    self._append(file, record)
            self._stop.wait(self._arrivals.pause_s(len(batch), time.monotonic() - start))

    def _is_ours(self, path: str) -> bool:
        """Whether a file is one of those that the watcher itself writes, which may stand in the folder."""
        return path.startswith(self._results_path)

    def _answer(self, path: Path) -> dict[str, Any]:
        try:
            return self._predictor.predict(path).to_dict()
        except (ImageError, DependencyError, StorageError) as error:
            return failure_record(path, error)

    def _append(self, file: Sighting, record: dict[str, Any]) -> None:
        place = str(self._results.path)
        while not self._results.append(encode_line(line_of(file, record))):
            self._troubles.begin(place, "no room on the disk; waiting for it")
            self._stop.wait(self._settings.poll_s)
        self._troubles.end(place)
        self._arrivals.keep(file)
