"""Progress with speed and time left, on standard error: a bar, or a line a minute where that is no terminal.

Nothing is shown where nobody asked to hear (see train.command_log).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from train.command_log import CONSOLE, is_heard

_logger = logging.getLogger(__name__)

_PAUSE_S = 60.0  # without a terminal: from one line of a piece of work to the next


class Bar:
    """One piece of long work."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title, self._told = progress, title, time.monotonic()
        self._task = progress.add_task(title, total=None)

    def update(self, done: int, total: int, title: str | None = None) -> None:
        """Shows that `done` of `total` images are finished."""
        self._title = title or self._title
        self._progress.update(self._task, completed=done, total=total, description=self._title)
        if not CONSOLE.is_terminal and time.monotonic() - self._told >= _PAUSE_S:
            self._told = time.monotonic()
            _logger.info(f"{self._title}: {done:,} of {total:,}")


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """A bar that counts images, as long as the block runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    silent = not (CONSOLE.is_terminal and is_heard())
    with Progress(*columns, console=CONSOLE, transient=True, disable=silent) as progress:
        yield Bar(progress, title)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")
