"""The options of the gate's limits, which edge-export and edge-parity share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from export.limits import PRESETS, Limits, limits_of

_SHARE = click.FloatRange(0, 1)
_LIMITS = {  # options that replace one limit of a preset: `--limit-NAME`
    "auc": "Largest change of the AUC.",
    "changed": "Largest share of radiographs whose decision changes.",
    "distance": "Largest distance from the threshold at which a decision may change.",
    "percentile-99": "Largest 99th percentile of the change of probability.",
    "sensitivity": "Largest change of the sensitivity.",
    "specificity": "Largest change of the specificity.",
}


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the set of limits of the gate, and an option for each limit."""
    for name, text in reversed(_LIMITS.items()):
        command = click.option(f"--limit-{name}", type=_SHARE, help=text)(command)
    presets = click.Choice(tuple(PRESETS))
    return click.option("--gate", type=presets, default="default", show_default=True, help="Set of limits.")(command)


def take_limits(options: dict[str, Any]) -> Limits:
    """The limits that were given; their options are taken out."""
    given = {name: options.pop(f"limit_{name}") for name in (option.replace("-", "_") for option in _LIMITS)}
    return limits_of(options.pop("gate"), **given)
