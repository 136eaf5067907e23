"""edge-export: a trained network to files that a device runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge_runtime.command import Command
from edge_runtime.drafts import temporary_files_of
from edge_runtime.spec import ASPECTS
from edge_runtime.terminal_text import escaped, escaped_lines
from export.init_spec import init_spec_option
from export.limit_options import limit_options, take_limits
from export.package.command import package_options
from export.quantize.recipes import ALIASES, AUTO, NAMES
from export.request import FORMATS, RANGES, ExportRequest

_FOLDER = click.Path(path_type=Path, file_okay=False)
_LONGEST_NAME = 60  # letters: it stands in every line of results
_FILE = click.Path(path_type=Path, dir_okay=False)


class _RecipeName(click.Choice[str]):
    """A recipe by its name, or by one that it had in earlier versions."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(ALIASES.get(value, value), param, ctx)


def _parse_formats(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(FORMATS):
        raise click.BadParameter(f"{text!r}; one or more of {','.join(FORMATS)} were expected")
    return names


def _parse_labels(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if len(set(names)) != len(names) or "" in names or len(names) == 1:
        raise click.BadParameter(f"{text!r}; two or more different names were expected, such as normal,fractured")
    return names


def _named(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and (not text.isprintable() or not 0 < len(text) <= _LONGEST_NAME):
        raise click.BadParameter(f"{text!r}; 1 to {_LONGEST_NAME} printable letters were expected, such as fractures-1")
    return text


@click.command(cls=Command)
@click.argument("source", metavar="RUN|MODEL|BUNDLE", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=_FOLDER, help="Bundle to write; an earlier bundle there is replaced.")
@click.option("--name", callback=_named, help="Of the network, in every answer. [default: the run's, or the file's]")
@click.option("--int8", is_flag=True, help="Write int8 files too; without it float files only.")
@click.option("--allow-mixed", is_flag=True, help="Leave in float what a format cannot hold: model_mixed files.")
@click.option("--calibration", type=_FOLDER, help="Calibration images, in place of the run's own.")
@click.option("--data", type=_FOLDER, help="Folder of the radiographs, where it has moved since training.")
@click.option("--spec", type=_FILE, help="Spec of a network made elsewhere, in place of the six options below.")
@click.option("--labels", default="", callback=_parse_labels, help="Its classes in its own order: NEGATIVE,POSITIVE.")
@click.option("--positive", help="Which of the labels is the positive class; needed where there are three or more.")
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Of its decision. [0.5]")
@click.option("--aspect", type=click.Choice(ASPECTS), help="How images become square. [stretch, as Keras' loaders do]")
@click.option("--size", type=click.IntRange(8, 4096), help="Of its square image, pixels; needed where it takes any.")
@click.option("--input-range", type=click.Choice(RANGES), help="Values that it takes; without it, read from it.")
@click.option(
    "--formats", default=",".join(FORMATS), show_default=True, callback=_parse_formats, help="Of model files."
)
@click.option("--recipe", type=_RecipeName((AUTO, *NAMES)), default=AUTO, show_default=True, help="How to quantise.")
@click.option(
    "--budget-minutes",
    type=click.FloatRange(0, min_open=True),
    help="Time that fine-tuning may take; without it, auto leaves fine-tuning out. Stopped, it can be gone on with.",
)
@click.option(
    "--evaluate", type=_FOLDER, help="Images that judge, in place of a run's test split; class folders label them."
)
@limit_options
@click.option("--force", is_flag=True, help="Write a bundle that fails the gate, marked so.")
@click.option("--calibrate-with-phantoms", is_flag=True, help="Though the network learnt from radiographs.")
@click.option("--wide", is_flag=True, help="Print every column of the tables, wider than 100 characters.")
@init_spec_option
@package_options
@click.version_option(package_name="fracture-edge")
def main(wide: bool, **options: Any) -> None:
    """Turns a trained network into a bundle of files for devices, and prints how they agree with it.

    RUN is a folder written by edge-train. A network made elsewhere is given as MODEL, a .keras or .h5 file or the
    folder of a SavedModel, with --labels or --spec. With --package, the bundle also becomes one archive that installs
    on a machine without a network; a BUNDLE is packaged as it is, and without any source the network that edge-infer
    brings along.
    """
    from export.quiet import quiet_converters
    from train.command_log import steps_on

    options["limits"] = take_limits(options)
    request = ExportRequest(**options)
    with temporary_files_of("edge-export"), quiet_converters() as terminal, steps_on(terminal, "export"):
        from export.exporter import export
        from export.parity.table import parity_text

        parity = export(request)
    click.echo(escaped_lines(parity_text(parity, wide)))
    click.echo(escaped(f"bundle: {options['out']}"))


if __name__ == "__main__":
    main()
