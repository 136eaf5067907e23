"""edge-parity: how a bundle's files decide beside the trained network, on a user's own images and engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_runtime.command import Command, echo_result
from edge_runtime.drafts import temporary_files_of
from edge_runtime.errors import GateError
from edge_runtime.terminal_text import escaped, escaped_lines
from edge_runtime.whole_files import require_replaceable, whole_folder
from export.limit_options import limit_options, take_limits
from export.quiet import quiet_converters
from train.command_log import steps_on
from train.pages import is_page_of

_FOLDER = click.Path(path_type=Path, file_okay=False)
_WRITTEN = {"parity.json", "report.html", "probabilities.png", "layers.png"}
_PROGRAM = click.Path(path_type=Path, dir_okay=False, exists=True)


def is_parity_folder(folder: Path) -> bool:
    """Whether a folder holds what this command writes, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    try:
        return names <= _WRITTEN and is_page_of("edge-parity", folder / "report.html")
    except OSError:
        return False


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--run", type=_FOLDER, help="Run that the bundle was exported from: its Keras network is the reference.")
@click.option("--data", type=_FOLDER, help="Folder of the run's radiographs, where it has moved since training.")
@click.option("--tflite-python", type=_PROGRAM, help="Python that has tflite-runtime, numpy, Pillow and click.")
@click.option("--worst", type=click.IntRange(0), default=10, show_default=True, help="Images listed, worst first.")
@click.option("--layers", type=click.IntRange(1), default=16, show_default=True, help="Images that layers are told by.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--out", type=_FOLDER, help="Write parity.json and report.html, a page with pictures, here.")
@click.option("--wide", is_flag=True, help="Print every column of the tables, wider than 100 characters.")
@limit_options
@click.version_option(package_name="fracture-edge")
def main(
    bundle: Path,
    folder: Path | None,
    worst: int,
    layers: int,
    as_json: bool,
    out: Path | None,
    wide: bool,
    **options: Any,
) -> None:
    """Compares every file of a BUNDLE, on every engine that is installed, with the trained network.

    The images are those of FOLDER, labelled where they lie in folders named as the classes, or else the test split of
    --run. Ends with exit code 4 where an int8 file does not keep the limits of the gate.
    """
    limits = take_limits(options)
    if out is not None:
        require_replaceable(out, is_parity_folder, f"--out {out}")
    with temporary_files_of("edge-parity"), quiet_converters() as terminal, steps_on(terminal, "export"):
        from export.parity.gate import FAILED
        from export.parity.page import suite_text, write_page
        from export.parity.suite import Sources, run_suite

        suite = run_suite(Sources(bundle, folder, **options), limits, layers)
    found = suite.to_dict(worst)
    if as_json:
        echo_result(json.dumps(found))
    else:
        click.echo(escaped_lines(suite_text(suite, worst, wide)))
    if out is not None:
        with whole_folder(out, is_parity_folder) as draft:
            (draft / "parity.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            page = write_page(draft, suite, worst)
        click.echo(escaped(f"report: {out / page.name}"), err=True)
    if suite.parity.verdict == FAILED:
        raise GateError("an int8 file does not decide as the trained network does; the table says by how much")


if __name__ == "__main__":
    main()
