"""One line on a terminal that says how far a long run has come, and how long it will take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

LEAST = 10  # images; fewer are done before anybody has read the line
_BAR = 20  # letters
_AGAIN_S = 0.1  # seconds between two drawings where nothing was printed


class ProgressLine(AbstractContextManager["ProgressLine"]):
    """Counts images on standard error; it draws nothing where that is no terminal, or for few images.

    Whoever prints a line calls `clear` first, so that the two do not share one. When the block ends, the line is gone.

    Args:
        total: images.
        stream: where it is drawn; None: standard error.
        clock: seconds, ever rising.
    """

    def __init__(self, total: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._stream, self._clock = total, stream or sys.stderr, clock
        self._shown = total >= LEAST and self._stream is not None and self._stream.isatty()
        self._done, self._width = 0, 0
        self._start = self._drawn = clock()

    def add(self, record: Mapping[str, Any]) -> None:
        """Counts one image, whatever came of it."""
        self._done += 1
        now = self._clock()
        if self._shown and (not self._width or now - self._drawn >= _AGAIN_S):
            self._draw(now)

    def clear(self) -> None:
        """Takes the line away until the next image is counted."""
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def _draw(self, now: float) -> None:
        seconds = max(now - self._start, 1e-9)
        filled = _BAR * self._done // self._total
        left = (self._total - self._done) * seconds / self._done
        text = (
            f"{self._done} of {self._total} [{'#' * filled}{'-' * (_BAR - filled)}] "
            f"{self._done / seconds:.1f} images a second, {_told(left)} left"
        )
        text = text[: shutil.get_terminal_size().columns - 1]
        self._write("\r" + text.ljust(self._width))
        self._width, self._drawn = len(text), now

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal has gone; the answers go on
            self._shown, self._width = False, 0


def _told(seconds: float) -> str:
    """`0:07`, `2:05`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
