"""Writes the option tables of docs/commands.md from the commands themselves: `make docs`, or --check, which tests run.

What stands between `<!-- options of NAME -->` and `<!-- end of options -->` is generated; all other text is written by
hand and left alone.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tomllib
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "commands.md"

_BLOCK = re.compile(r"<!-- options of (?P<name>[\w-]+) -->\n.*?<!-- end of options -->", re.DOTALL)
_SHARED = {"version", "help"}  # options that every command has: told once, at the top of the page


def find_commands() -> dict[str, str]:
    """`module:function` of every command that this repository installs, by its name."""
    return {
        name: target
        for folder in ("", "edge_runtime")
        for name, target in tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["scripts"].items()
    }


def open_command(target: str) -> click.Command:
    """The click command behind `module:function`."""
    module, function = target.split(":")
    command: click.Command = getattr(importlib.import_module(module), function)
    return command


def describe(name: str, command: click.Command) -> str:
    """Usage, purpose and a table of options, as Markdown."""
    context = click.Context(command, info_name=name, **command.context_settings)
    usage = command.get_usage(context).removeprefix("Usage: ")
    if isinstance(command, click.Group):
        parts = [_purpose(command)]
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            if inner is not None:
                parts.append(describe(f"{name} {verb}", inner))
        return "\n\n".join(parts)
    rows = [row for parameter in command.params if (row := _row(parameter, context))]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows])
    return f"```\n{' '.join(usage.split())}\n```\n\n{_purpose(command)}\n\n{table}"


def _purpose(command: click.Command) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    if not isinstance(parameter, click.Option) or parameter.hidden or parameter.name in _SHARED:
        return None
    flags, text = parameter.get_help_record(context) or ("", "")
    return f"| `{_in_cell(' '.join(flags.split()))}` | {_in_cell(' '.join(text.split()))} |"


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def fill(page: str) -> str:
    """The page with every generated part made again.

    Raises:
        KeyError: a part names a command that there is not.
    """
    commands = find_commands()

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        body = describe(name, open_command(commands[name]))
        return f"<!-- options of {name} -->\n{body}\n<!-- end of options -->"

    return _BLOCK.sub(block, page)


def main() -> int:
    """Exit code: 1 where --check finds the page out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is out of date")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    filled = fill(page)
    if check:
        return int(filled != page)
    PAGE.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
