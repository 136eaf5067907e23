"""`edge-export --init-spec MODEL`: a spec to begin with, for a network made elsewhere; nothing is exported."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edge_runtime.command import echo_result
from edge_runtime.errors import DataError
from edge_runtime.terminal_text import escaped

_SAYING = ("source", "init_spec", "labels", "positive", "threshold", "aspect", "size", "name")  # what a spec can hold
_LABELS = ("normal", "fractured")  # until the user says otherwise


def init_spec_option(export: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--init-spec` to edge-export, which then prints a spec and does nothing else."""

    @functools.wraps(export)
    def spec_or_export(source: Path | None, init_spec: bool, **options: Any) -> Any:
        if not init_spec:
            return export(source=source, **options)
        _refuse_others()
        if source is None:
            raise click.UsageError("Missing argument 'MODEL.keras', whose spec is to be written.")
        return _print_spec(source, **{name: options[name] for name in _SAYING if name in options})

    says = "Print a spec of MODEL to fill in, and nothing else."
    return click.option("--init-spec", is_flag=True, help=says)(spec_or_export)


def _refuse_others() -> None:
    context = click.get_current_context()
    others = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in _SAYING
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if others:
        raise click.UsageError(f"{', '.join(others)}: --init-spec prints a spec and exports nothing")


def _print_spec(source: Path, labels: tuple[str, ...], name: str | None, **said: Any) -> None:
    from export.inputs.run_reader import Classes, side_of

    if len(labels) > len(_LABELS):
        raise DataError(
            f"{len(labels)} labels: a spec names two classes; leave it out, and give --labels and --positive to the "
            "export itself"
        )
    side = side_of(source, said["size"])
    spec = Classes(labels or _LABELS, **said).spec(name or source.stem, side)
    record = {key: value for key, value in spec.to_dict().items() if key not in ("tensors", "version")}
    echo_result(json.dumps(record, indent=2, ensure_ascii=False))
    if not labels:
        click.echo(
            escaped(
                f"labels are a guess: put yours in the place of {', '.join(_LABELS)}, negative first, in the order in "
                f"which the network learnt them; then edge-export {source} --spec spec.json"
            ),
            err=True,
        )
