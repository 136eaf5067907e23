"""One style for every page that a command writes: a file that needs no other, no script and no network."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from edge_runtime import __version__

# What the page of each command starts with, so that another file of its name is told from it.
_HEAD = '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="{}">\n'


def render(package: str, template: str, command: str, contents: Mapping[str, Any]) -> bytes:
    """A whole page in UTF-8.

    Args:
        package: that holds `templates/`, where the template lies.
        template: name of a file that extends `base.html`.
        command: that writes the page: `edge-audit`.
        contents: what the template asks for; anything missing is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__name__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(contents)
    # Bytes of names that are no text cannot stand on a page.
    return (_HEAD.format(command) + text).encode("utf-8", "backslashreplace")


def is_page_of(command: str, path: Path) -> bool:
    """Whether a file is a page that the command has written.

    Raises:
        OSError: it cannot be read.
    """
    head = _HEAD.format(command).encode()
    with path.open("rb") as stream:
        return stream.read(len(head)) == head


def made_today() -> tuple[str, str]:
    """Date and version, for the bar at the top of a page that need not have the same bytes again."""
    return datetime.datetime.now().strftime("%Y-%m-%d"), f"fracture-edge {__version__}"


def shown_path(text: str) -> str:
    """The last part of an absolute path, any other text as it is: a page is passed on, and tells no folders."""
    return PurePath(text).name if PurePath(text).is_absolute() else text


def table_of(label: str, rows: Sequence[Sequence[Any]], text: Sequence[int] = (), folded: str = "") -> dict[str, Any]:
    """A table, for the macro of that name.

    Args:
        label: what it shows, for people who do not see it.
        rows: the first is its head.
        text: columns that may be wrapped, from 0.
        folded: where not empty, the line that opens the table.
    """
    head, *body = rows
    return {"label": label, "head": head, "rows": body, "text": tuple(text), "folded": folded}
