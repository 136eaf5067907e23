"""The options of the gate's limits, which edge-export and edge-parity share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from export.limits import PRESETS, Limits, limits_of

_SHARE = click.FloatRange(0, 1)
# Options that replace one limit of a preset: name -> what it says.
_LIMITS = {f"limit_{one.name}": one.metadata["help"] for one in fields(Limits)}


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the set of limits of the gate, and an option for each limit."""
    for name, text in reversed(_LIMITS.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=_SHARE, help=text)(command)
    presets = click.Choice(tuple(PRESETS))
    return click.option("--gate", type=presets, default="default", show_default=True, help="Set of limits.")(command)


def take_limits(options: dict[str, Any]) -> Limits:
    """The limits that were given; their options are taken out."""
    given = {name.removeprefix("limit_"): options.pop(name) for name in _LIMITS}
    return limits_of(options.pop("gate"), **given)
