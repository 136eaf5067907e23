"""edge-evaluate: what a network is worth on any images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edge_runtime.command import Command, echo_result
from edge_runtime.engines import AUTO, NAMES
from edge_runtime.terminal_text import escaped, escaped_lines
from train.command_log import messages_on_standard_error

PLOT_FORMATS = ("svg", "png", "pdf")  # as in records, which takes seconds to import
_FOLDER = click.Path(path_type=Path, file_okay=False)
_PATH = click.Path(path_type=Path)


def _parse_names(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _parse_formats(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = _parse_names(context, parameter, text)
    if not set(names) <= set(PLOT_FORMATS):
        raise click.BadParameter(f"{text!r}; one or more of {','.join(PLOT_FORMATS)} were expected")
    return names


def _parse_prevalences(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(number) for number in text.split(",") if number.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r}; numbers such as 0.05,0.2 were expected") from error
    if not all(0 < value < 1 for value in values):
        raise click.BadParameter(f"{text!r}; a prevalence lies between 0 and 1")
    return values


@click.command(cls=Command)
@click.argument("source", metavar="BUNDLE|FILE|RUN", type=_PATH)
@click.argument("folder", required=False, type=_PATH)
@click.option("--out", type=_FOLDER, required=True, help="Folder to write; an earlier evaluation there is replaced.")
@click.option(
    "--run",
    type=_FOLDER,
    help="Judge the test split of this run; with a FOLDER, tell how it parts from the run's images.",
)
@click.option("--data", type=_FOLDER, help="Folder of the run's radiographs, where it has moved since training.")
@click.option(
    "--groups",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV with columns path and group: files of one patient.",
)
@click.option("--positive", help="Class folder that means fractured, if it cannot be recognised.")
@click.option("--by", default="", callback=_parse_names, help="Columns of index.csv, for subgroups: region,hardware.")
@click.option("--against", type=_PATH, help="Another bundle, file or run, judged on the same images.")
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.02,
    show_default=True,
    help="AUC by which the network may be worse and still not be inferior to the other.",
)
@click.option(
    *("--prevalence", "prevalences"),
    default="",
    callback=_parse_prevalences,
    help="Of fractures where the network is to work, for predictive values: 0.05,0.2.",
)
@click.option(
    "--plots",
    default="",
    callback=_parse_formats,
    help="Write each plot as a file too, into OUT/plots: svg,png,pdf, or some of them.",
)
@click.option("--rotation", is_flag=True, help="Judge turned images too: a curve of AUC and decisions over the angle.")
@click.option(
    "--shortcuts",
    is_flag=True,
    help="Judge images moved, compressed, coarser, with bright marks painted over, and their border alone.",
)
@click.option(
    "--changed-images",
    type=click.IntRange(2),
    default=200,
    show_default=True,
    help="With --rotation and --shortcuts: images that are changed, at most.",
)
@click.option("--engine", type=click.Choice([AUTO, *NAMES]), default=AUTO, show_default=True, help="Inference engine.")
@click.option("--operating-point", help="Threshold by its name, where the network has several. [default: its own]")
@click.option(
    *("--radiograph-gate/--no-radiograph-gate",),
    default=True,
    show_default=True,
    help="Tell images that are no radiographs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json.")
@click.version_option(package_name="fracture-edge")
@click.pass_context
def main(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Judge the images of FOLDER, or a run's test split, and write predictions, figures with intervals, and a page.

    Images in folders named as the classes are labelled. An evaluation that was interrupted goes on with the same
    command. Research use only: not a medical device.
    """
    source = context.get_parameter_source("changed_images")
    if source is ParameterSource.COMMANDLINE and not (options["rotation"] or options["shortcuts"]):
        raise click.UsageError("--changed-images goes with --rotation and --shortcuts")
    from export.evaluation.evaluation import REPORT, evaluate
    from export.evaluation.records import EvaluationRequest
    from train.audit.progress import show_progress

    with messages_on_standard_error("export"), show_progress() as progress:
        found = evaluate(EvaluationRequest(**options), progress)
    if as_json:
        echo_result(json.dumps(found.to_dict()))
    else:
        from export.evaluation.page import as_text

        click.echo(escaped_lines(as_text(found)))
    click.echo(escaped(f"report: {options['out'] / REPORT}"), err=True)


if __name__ == "__main__":
    main()
