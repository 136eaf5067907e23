"""Judges what waits, one instance after the other, each once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge_runtime.errors import EdgeError, ImageError
from edge_runtime.json_lines import failure_record
from edge_runtime.serving.judging import Judging
from edge_runtime.serving.metrics import Metrics
from edge_runtime.serving.node.belonging import is_own
from edge_runtime.serving.node.originals import SOURCE, Originals
from edge_runtime.serving.store import Item

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ATTEMPTS = 5  # starts of the process at one instance: with the next it is given up
_AGAIN_S = 5.0  # after the disk refused


class Reports(Protocol):
    """What becomes of an answer beside the store."""

    wants_heatmap: bool  # whether records come with it

    def prepare(self, item: Item, content: bytes, record: dict[str, Any]) -> None:
        """Called before the answer is kept: it must be on the disk on return, and go nowhere yet."""

    def release(self) -> None:
        """Called once the answer is kept: what was prepared may go."""


class Judge(threading.Thread):
    """The thread that works the queue off.

    Args:
        originals: what waits.
        judging: the network, which others use too.
        metrics: where answers are counted.
        reports: what becomes of an answer beside the store.
        tell: for a line to the log.
    """

    def __init__(
        self,
        originals: Originals,
        judging: Judging,
        metrics: Metrics,
        reports: Reports,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name="dicom-judge", daemon=True)
        self._originals, self._judging, self._metrics = originals, judging, metrics
        self._reports, self._tell = reports, tell
        self._wake, self._ending = threading.Event(), False

    def wake(self) -> None:
        """Something waits."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the instance in hand."""
        self._ending = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        while not self._ending:
            self._wake.clear()
            try:
                while not self._ending and (found := self._originals.next()):
                    self._answer(*found)
            except (OSError, EdgeError) as error:
                self._tell(f"DICOM: the queue stands still: {getattr(error, 'strerror', None) or error}")
                time.sleep(0 if self._ending else _AGAIN_S)
                continue
            self._wake.wait()

    def _answer(self, item: Item, path: Path) -> None:
        start = time.perf_counter()
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if not content:
            record = failure_record("-", ImageError("the image is gone from the queue", "missing"))
        elif self._originals.begin(item) > MOST_ATTEMPTS:
            text = f"the process ended {MOST_ATTEMPTS} times while it judged this image; it is given up"
            record = failure_record("-", ImageError(text, "no_answer"))
        elif is_own(content):
            record = failure_record("-", ImageError("made by this program, and no radiograph", "unsupported"))
        else:
            record = self._judging.submit(content, self._reports.wants_heatmap).result()
        self._reports.prepare(item, content, record)
        record.pop("heatmap", None)
        self._originals.finish(item, path, record)
        self._reports.release()
        self._metrics.count_answer(SOURCE, record.get("decision", "error"), time.perf_counter() - start)
