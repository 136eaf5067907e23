"""Every error that the tools raise on purpose, with the exit code that the commands turn it into.

EdgeError
├── ImageError        1  one image cannot be judged; the others still can
├── DataError         2  data or calibration images from which nothing can be made
├── ModelError        3  model or bundle missing, altered or unfit
├── GateError         4  a quality gate failed, or a leaking split was refused
├── DependencyError   5  an optional package is missing; the message is the install command
└── StorageError      6  reading or writing failed: disk full, permission

Exit code 2 also stands for wrong usage (click raises it), 130 for an interrupted command.
"""

from __future__ import annotations

from edge_runtime.terminal_text import escaped


class EdgeError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what a command ends with."""

    exit_code = 1


class ImageError(EdgeError):
    """An image cannot be judged.

    Attributes:
        code: one word for programs: `missing`, `empty`, `unreadable`, `truncated`, `unsupported`, `too_large`, or
            `no_answer` where the network gives no probability.
    """

    exit_code = 1

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class DataError(EdgeError):
    """The data set, or the calibration images, are such that nothing can be made from them."""

    exit_code = 2


class ModelError(EdgeError):
    """A model file or a bundle is missing, altered, or does not fit what is asked of it.

    One line, whatever it quotes: names and values come out of the file, and may hold line feeds.
    """

    exit_code = 3

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))


class GateError(EdgeError):
    """A quality gate failed, or a leaking split was refused."""

    exit_code = 4


class DependencyError(EdgeError):
    """An optional package is missing. The message is the exact command that installs it."""

    exit_code = 5


class StorageError(EdgeError):
    """The operating system refused to read or to write."""

    exit_code = 6
