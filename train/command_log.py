"""How a command talks: the packages log, and only a command lets their lines appear on standard error.

Who calls `train` or `export` as a library hears nothing until it asks `logging` for it, and may send the lines wherever
it wants.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.status import Status

from edge_runtime.terminal_text import escaped

PACKAGE = "train"  # the logger above those of all modules
CONSOLE = Console(stderr=True, highlight=False)

_PAUSE_S = 20.0  # without a terminal: a step is told when so long nothing was


class ConsoleHandler(logging.Handler):
    """Prints each message as one line, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a message as one line: no time, no level, nothing cut at the width of the terminal, names escaped."""
        CONSOLE.print(escaped(self.format(record)), soft_wrap=True, markup=False)


class StatusHandler(logging.Handler):
    """Shows steps as they come in one line that changes, and warnings as lines that stay.

    Without a terminal a step is a line of its own, where nothing was told for a while.

    Args:
        console: to print on.
        status: of that console.
    """

    def __init__(self, console: Console, status: Status) -> None:
        super().__init__()
        self._console, self._status, self._told = console, status, time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one message."""
        message = escaped(self.format(record))
        if record.levelno >= logging.WARNING:
            self._print(f"warning: {message}")
        elif self._console.is_terminal:
            self._status.update(message)
        elif time.monotonic() - self._told >= _PAUSE_S:
            self._print(message)

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)
        self._told = time.monotonic()


@contextmanager
def messages_on_standard_error(package: str = PACKAGE) -> Iterator[None]:
    """Shows what a package says, progress included, as long as the block runs."""
    with _heard(package, ConsoleHandler()):
        yield


@contextmanager
def steps_on(terminal: TextIO, package: str) -> Iterator[None]:
    """Shows the steps of a package on a terminal as long as the block runs."""
    console = Console(file=terminal)
    with console.status("starting") as status, _heard(package, StatusHandler(console, status)):
        yield


@contextmanager
def _heard(package: str, handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(package)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root logger would say everything twice
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def is_heard() -> bool:
    """Whether anybody asked for the messages of the package."""
    return logging.getLogger(PACKAGE).isEnabledFor(logging.INFO)
