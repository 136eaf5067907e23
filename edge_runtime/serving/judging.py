"""Images on their way to an answer: a bounded number of them, and the threads that judge.

An interpreter judges one image at a time (the Predictor sees to it); decoding the next ones overlaps with it.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DependencyError, ImageError, StorageError
from edge_runtime.images import STANDARD_INPUT
from edge_runtime.json_lines import failure_record

if TYPE_CHECKING:
    from edge_runtime.predictor import Predictor

WORKERS = 2  # one decodes while the other one's image is judged; more would only take memory


def answer_in(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what is in it for the drift alone: as `edge-infer` tells it."""
    return {name: value for name, value in record.items() if name != "pixels"}


def nameless_failure(error: ImageError | DependencyError | StorageError) -> dict[str, Any]:
    """The record of an image that came without a file: nobody here knows of a standard input."""
    record = failure_record(STANDARD_INPUT, error)
    record["error"]["message"] = record["error"]["message"].removeprefix("standard input: ")
    return record


class QueueFull(Exception):
    """No more images are taken in just now."""


@dataclass(frozen=True)
class Capacity:
    """What may wait at once."""

    images: int = 64  # received and not answered
    bytes: int = 256 << 20  # of them together, as they were sent


class Judging:
    """Judges images in the order in which they came.

    Args:
        predictor: shared by all threads.
        capacity: what may wait.
    """

    def __init__(self, predictor: Predictor, capacity: Capacity) -> None:
        self.predictor = predictor
        self.capacity = capacity
        self._pool = ThreadPoolExecutor(WORKERS, "judge")
        self._lock = threading.Lock()
        self._images = self._bytes = 0

    @property
    def waiting(self) -> int:
        """Images received and not answered."""
        return self._images

    def reserve(self, size: int) -> Reservation:
        """Room for an image of so many bytes, before it is read.

        Raises:
            QueueFull: there is none.
        """
        with self._lock:
            if self._images >= self.capacity.images or self._bytes + size > self.capacity.bytes:
                raise QueueFull
            self._images += 1
            self._bytes += size
        return Reservation(self, size)

    def release(self, size: int) -> None:
        """Gives the room of one image of that size back."""
        with self._lock:
            self._images -= 1
            self._bytes -= size

    def submit(self, source: bytes | Path, heatmap: bool = False) -> Future[dict[str, Any]]:
        """The record of an image, as edge-infer prints it, once it is judged.

        Args:
            source: content of an image file, or its path.
            heatmap: say where the network looked too, if it does.
        """
        return self._pool.submit(self._judge, source, heatmap)

    def _judge(self, source: bytes | Path, heatmap: bool) -> dict[str, Any]:
        try:
            return self.predictor.predict(source, heatmap=heatmap, pixels=True).to_dict()
        except (ImageError, StorageError, DependencyError) as error:
            return nameless_failure(error) if isinstance(source, bytes) else failure_record(source, error)

    def drain(self) -> None:
        """Returns once everything that was submitted is answered; nothing more is taken in."""
        self._pool.shutdown(wait=True)


class Reservation:
    """Room for one image, given back when the block ends."""

    def __init__(self, judging: Judging, size: int) -> None:
        self._judging, self._size = judging, size

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self._judging.release(self._size)
