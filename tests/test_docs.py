"""Every command and every option of it is described where users look: README.md or docs/."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    name: target
    for folder in ("", "edge_runtime")
    for name, target in tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["scripts"].items()
}


@pytest.fixture(scope="module")
def documentation() -> str:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def click_command(name: str) -> click.Command:
    module, function = COMMANDS[name].split(":")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{name}: {module} is not written yet")
    return getattr(importlib.import_module(module), function)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name, documentation):
    options = [
        option
        for parameter in click_command(name).params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]
    missing = [word for word in (name, *options) if not re.search(rf"(?<![\w-]){word}(?![\w-])", documentation)]
    assert missing == [], f"{name}: not in README.md or docs/*.md"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_says_what_it_does(name):
    silent = [
        parameter.name
        for parameter in click_command(name).params
        if isinstance(parameter, click.Option) and not (parameter.help or "").strip()
    ]
    assert silent == []
    assert (click_command(name).help or "").strip()
