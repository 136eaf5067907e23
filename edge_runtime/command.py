"""One click command class for all tools: our errors become exit codes, and messages go to standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click

from edge_runtime.errors import EdgeError, StorageError

EXIT_INTERRUPTED = 130


# For groups of commands too, which click makes itself.
HELP_OPTIONS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A click command that ends with the exit code of the EdgeError raised inside it; `-h` is `--help`."""

    def __init__(self, name: str | None, context_settings: dict[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(name, {**HELP_OPTIONS, **(context_settings or {})}, **settings)

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
        try:
            sys.exit(super().main(*args, **kwargs) or 0)
        except click.exceptions.Abort:
            click.echo("interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except EdgeError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            _drop_buffered_output()
            sys.exit(StorageError.exit_code)


def _drop_buffered_output() -> None:
    """Sends what standard output still holds to nowhere: flushed once more at exit, it would fail once more."""
    with contextlib.suppress(OSError, ValueError):  # there may be no file behind it, as under a test runner
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
