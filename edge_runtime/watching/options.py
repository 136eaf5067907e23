"""Options of every command that watches a folder: names, bounds and defaults stand here once."""

from __future__ import annotations

import click

poll_option = click.option(
    *("--poll", "poll_s"),
    type=click.FloatRange(0.01, 3600),
    default=1.0,
    show_default=True,
    help="With --watch: seconds between two listings of the folder.",
)
settle_option = click.option(
    *("--settle", "settle_s"),
    type=click.FloatRange(0, 86400),
    default=10.0,
    show_default=True,
    help="With --watch: seconds that a file gets to become whole that cannot be decoded, or whose format has no end.",
)
