"""One click command class for all tools: our errors become exit codes, and messages go to standard error."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from edge_runtime.errors import DependencyError, EdgeError, GateError, StorageError
from edge_runtime.terminal_text import escaped, escaped_lines

EXIT_INTERRUPTED = 130

# For groups of commands too, which click makes itself.
HELP_OPTIONS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

_OF_SEVERAL_LINES = (GateError, DependencyError)  # a table, a command to copy; elsewhere a line feed is in some name


class NamedPath(click.Path):
    """A path that has a name: an empty one, as of a variable that was never set, is not the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As `click.Path`."""
        if value == "":
            self.fail("an empty name", param, ctx)
        return super().convert(value, param, ctx)


class Command(click.Command):
    """A click command that ends with the exit code of the EdgeError raised inside it; `-h` is `--help`."""

    def __init__(self, name: str | None, context_settings: dict[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(name, context_settings={**HELP_OPTIONS, **(context_settings or {})}, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; a clean end where the reader of its output has left, as in `| head`."""
        # Here and not in `main`: click would end with code 1 before.
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _drop_buffered_output()
            return 0

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command and exits; 130 where it was interrupted, 6 where reading or writing failed."""
        kwargs["standalone_mode"] = False
        _occupy_closed_streams()
        with _ending_cleanly_when_terminated():
            self._main(*args, **kwargs)

    def _main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            sys.exit(super().main(*args, **kwargs) or 0)
        except click.exceptions.Abort:
            click.echo("interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            vars(error)["message"] = escaped_lines(error.message)
            error.show()
            sys.exit(error.exit_code)
        except EdgeError as error:
            text = escaped_lines(str(error)) if isinstance(error, _OF_SEVERAL_LINES) else escaped(str(error))
            click.echo(f"error: {text}", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            click.echo(f"error: {escaped(f'{where}{error.strerror or error}')}", err=True)
            _drop_buffered_output()
            sys.exit(StorageError.exit_code)


def _occupy_closed_streams() -> None:
    """Opens /dev/null where a standard stream is closed, as under some daemons.

    The next file that anybody opens would get its number otherwise, and a library's words would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


def echo_result(text: str) -> None:
    """Prints a result that programs read, such as JSON.

    Raises:
        OSError: standard output is closed, and the result would be lost.
    """
    if isinstance(sys.stdout, _ClosedOutput):
        _ = sys.stdout.buffer
    click.echo(text)


class _ClosedOutput(io.TextIOBase):
    """In place of a standard output that is closed: words to people are dropped, results are refused."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Drops a summary of what lies on the disk."""
        return len(text)

    @property
    def buffer(self) -> NoReturn:
        """What results are written to, as bytes.

        Raises:
            OSError: always.
        """
        raise OSError(errno.EBADF, "closed, and results go there", "standard output")


@contextlib.contextmanager
def _ending_cleanly_when_terminated() -> Iterator[None]:
    """SIGTERM is an interruption: what is half done is cleared away, and the exit code is the same."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked twice: the end is under way
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Group(Command, click.Group):
    """Several commands under one name, with the same ends."""

    command_class = Command


def _drop_buffered_output() -> None:
    """Sends what standard output still holds to nowhere: flushed once more at exit, it would fail once more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there may be no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
