"""Documents are true: options as the commands have them, the map as the folders are, links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tools.command_docs import PAGE, fill, find_commands, open_command

ROOT = Path(__file__).parents[1]
COMMANDS = find_commands()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README_LINES = 160  # a reader finds the two commands without scrolling far; all else is in docs/


def leaves(command: click.Command) -> list[click.Command]:
    """The command, or those of a group."""
    return (
        [leaf for one in command.commands.values() for leaf in leaves(one)]
        if isinstance(command, click.Group)
        else [command]
    )


def test_the_option_tables_are_those_of_the_commands():
    page = PAGE.read_text(encoding="utf-8")
    assert fill(page) == page, "run `make docs`"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_its_section(name):
    assert f"<!-- options of {name} -->" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_says_what_it_does(name):
    for command in leaves(open_command(COMMANDS[name])):
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not (option.help or "").strip()] == []
        assert (command.help or "").strip()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_answers_to_h_as_to_help(name):
    command = open_command(COMMANDS[name])
    for one in {command, *leaves(command)}:
        assert set(one.get_help_option_names(click.Context(one, **one.context_settings))) == {"-h", "--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_repository(page):
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_map_names_every_room_and_no_other():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        folder.relative_to(ROOT).as_posix() + "/"
        for top in ("edge_runtime", "train", "export")
        for folder in (ROOT / top).rglob("*")
        if (folder / "__init__.py").is_file()
    }
    told = set(re.findall(r"^\| `((?:edge_runtime|train|export)/[\w/]+/)` \|", page, re.MULTILINE))
    assert told == rooms


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES
