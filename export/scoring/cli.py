"""edge-score: an archive of images through a bundle, on Ray."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edge_runtime.command import Command
from edge_runtime.engines import AUTO, NAMES
from edge_runtime.errors import DependencyError


def _parse_options(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r}; NAME=VALUE was expected")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options


@contextlib.contextmanager
def _messages_on_standard_error() -> Iterator[None]:
    logger, handler = logging.getLogger("export.scoring"), logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@click.command(cls=Command)
@click.argument("archive")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of results.")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle folder or model file.  [default: $EDGE_MODEL]")
@click.option("--engine", type=click.Choice([AUTO, *NAMES]), default=AUTO, show_default=True, help="Inference engine.")
@click.option("--workers", type=click.IntRange(1), help="Processes that judge.  [default: one for each processor]")
@click.option(
    "--part-images", type=click.IntRange(1), default=500, show_default=True, help="Images in one file of results."
)
@click.option("--ray-address", help="Ray cluster that runs, such as auto or HOST:6379.  [default: Ray starts here]")
@click.option(
    *("--storage-option", "options"),
    multiple=True,
    callback=_parse_options,
    metavar="NAME=VALUE",
    help="Of the object store, as fsspec names it; may be given several times.",
)
@click.option("--no-radiograph-gate", is_flag=True, help="Decide on what is no radiograph too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.version_option(package_name="fracture-edge")
def main(
    archive: str, options: dict[str, Any], no_radiograph_gate: bool, as_json: bool, out: Path, **given: Any
) -> None:
    """Judge every image of ARCHIVE: a folder, a list (.csv or .parquet with a column path, .txt), or a URL (s3://, gs://).

    RESULTS/parts holds a row for each image, failures among them. The same command goes on with what is left.
    Research use only: not a medical device.
    """
    try:
        from export.scoring.archive import Archive
        from export.scoring.scoring import ScoreRequest, score
    except ModuleNotFoundError as error:
        raise DependencyError(f'edge-score needs {error.name}: pip install "fracture-edge[ray]"') from error
    request = ScoreRequest(Archive(archive, options), out.absolute(), radiograph_gate=not no_radiograph_gate, **given)
    with _messages_on_standard_error():
        summary = score(request)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
        return
    rate = f", {summary.judged / summary.seconds:.1f} a second" if summary.seconds else ""
    click.echo(f"{summary.images} images; judged now {summary.judged}, without an answer {summary.failed}{rate}")
    click.echo(f"results: {out / 'parts'}")


if __name__ == "__main__":
    main()
