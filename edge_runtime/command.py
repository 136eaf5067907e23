"""One click command class for all tools: our errors become exit codes, and messages go to standard error."""

from __future__ import annotations

import sys
from typing import Any

import click

from edge_runtime.errors import EdgeError, StorageError

EXIT_INTERRUPTED = 130


class Command(click.Command):
    """A click command that ends with the exit code of the EdgeError raised inside it."""

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
        except BrokenPipeError:
            # The reader of our output has left (`| head`): a clean end, but Python must not flush to it again.
            sys.stdout = None
            sys.exit(0)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            sys.exit(StorageError.exit_code)
