"""edge-export: a trained network to files that a device runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_runtime.command import Command
from export.recipes import NAMES
from export.request import FORMATS, ExportRequest

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


def _parse_formats(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(FORMATS):
        raise click.BadParameter(f"{text!r}; one or more of {','.join(FORMATS)} were expected")
    return names


@click.command(cls=Command)
@click.argument("source", metavar="RUN|MODEL.keras", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=_FOLDER, help="Bundle to write; an earlier bundle there is replaced.")
@click.option("--int8", is_flag=True, help="Write int8 files too; without it float files only.")
@click.option("--calibration", type=_FOLDER, help="Calibration images, in place of the run's own.")
@click.option("--data", type=_FOLDER, help="Folder of the radiographs, where it has moved since training.")
@click.option("--spec", type=_FILE, help="Spec of a network made elsewhere.")
@click.option(
    "--formats", default=",".join(FORMATS), show_default=True, callback=_parse_formats, help="Of model files."
)
@click.option("--recipe", type=click.Choice(NAMES), default=NAMES[0], show_default=True, help="How to quantise.")
@click.option("--force", is_flag=True, help="Calibrate with phantoms though the network learnt from radiographs.")
@click.version_option(package_name="fracture-edge")
def main(**options: Any) -> None:
    """Turns a trained network into a bundle of files for devices, and prints how they agree with it.

    RUN is a folder written by edge-train. A network made elsewhere is given as MODEL.keras with --spec.
    """
    from export.quiet import quiet_converters

    with quiet_converters() as terminal:
        from rich.console import Console

        from export.card import parity_text
        from export.exporter import export

        console = Console(file=terminal)
        with console.status("starting") as status:
            parity = export(
                ExportRequest(**options),
                tell=status.update,
                warn=lambda message: click.echo(f"warning: {message}", err=False, file=terminal),
            )
    click.echo(parity_text(parity))
    click.echo(f"bundle: {options['out']}")
