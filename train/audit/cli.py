"""edge-audit: what is wrong with a data set, and which files may never be split."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime import __version__
from edge_runtime.command import Command, echo_result
from edge_runtime.errors import GateError
from edge_runtime.terminal_text import escaped, escaped_lines

if TYPE_CHECKING:
    from train.audit.workers import Workers


@click.command(cls=Command)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html, with pictures, into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--strict", is_flag=True, help="Exit with code 4 if the data set is not fit for evaluation.")
@click.option(
    "--write", type=click.Path(path_type=Path), help="Write a cleaned copy, split by radiograph, to this new folder."
)
@click.option(
    "--keep-copies", is_flag=True, help="With --write: keep all files of each radiograph, not only the best one."
)
@click.option(
    "--positive", metavar="NAME", help="Name of the class folder that means fractured, if it cannot be recognised."
)
@click.option(
    "--groups",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV with columns path and group: files of one patient, which stay on one side of a split.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the split and of the cross-validation."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who works: threads of this process, or processes on Ray, of one machine or of many.",
)
@click.option(
    "--ray-address",
    help="With --engine ray: a cluster that runs, such as auto or HOST:6379.  [default: Ray starts here]",
)
@click.version_option(__version__, prog_name="edge-audit")
def main(data: Path, out: Path | None, write: Path | None, as_json: bool, **options: Any) -> None:
    """Find copies at any rotation, leaks between splits, contradictory labels and shortcuts in DATA.

    DATA contains folders train, val and test with class folders inside, or only class folders. It is not changed.
    """
    from train.audit.cleaning import write_clean
    from train.audit.findings import Means, audit
    from train.audit.layout import refuse_inside
    from train.audit.progress import show_progress
    from train.audit.report_file import refuse_other_report
    from train.audit.summary import summarise, verdict
    from train.command_log import messages_on_standard_error

    for option, target in (("--out", out), ("--write", write)):
        if target is not None:
            refuse_inside(target, data, option)
    if out is not None:
        refuse_other_report(out)
    with messages_on_standard_error(), _workers(**options) as workers, show_progress() as progress:
        means = Means(progress, workers)
        findings = audit(data, options["positive"], options["seed"], means, table=options["groups"])
    if as_json:
        echo_result(json.dumps(findings.to_dict(), indent=1))
    else:
        click.echo(escaped_lines(summarise(findings)))
    if out is not None:
        from train.audit.report_page import write_report  # with matplotlib: seconds that only a page is worth

        click.echo(escaped(f"report: {write_report(findings, out)}"), err=True)
    if write is not None:
        count = write_clean(findings, write, options["keep_copies"], options["seed"])
        click.echo(escaped(f"cleaned copy: {count} images in {write}"), err=True)
    if options["strict"] and not findings.fit:
        raise GateError(verdict(findings))


def _workers(engine: str, ray_address: str | None, **_: Any) -> AbstractContextManager[Workers]:
    from train.audit.cluster_workers import RAY, workers_of

    if ray_address is not None and engine != RAY:
        raise click.UsageError("--ray-address goes with --engine ray")
    return workers_of(engine, ray_address)


if __name__ == "__main__":
    main()
