"""How a command talks: the package logs, and only a command lets its lines appear on standard error.

Who calls `train` as a library hears nothing until it asks `logging` for it, and may send the lines wherever it wants.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from edge_runtime.terminal_text import escaped

PACKAGE = "train"  # the logger above those of all modules
CONSOLE = Console(stderr=True, highlight=False)


class ConsoleHandler(logging.Handler):
    """Prints each message as one line, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a message as one line: no time, no level, nothing cut at the width of the terminal, names escaped."""
        CONSOLE.print(escaped(self.format(record)), soft_wrap=True, markup=False)


@contextmanager
def messages_on_standard_error() -> Iterator[None]:
    """Shows what the package says, progress included, as long as the block runs."""
    logger, handler = logging.getLogger(PACKAGE), ConsoleHandler()
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
