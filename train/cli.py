"""edge-train: a folder of X-rays in, a trained network and what it is worth out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edge_runtime import __version__
from edge_runtime.command import Command, echo_result
from edge_runtime.drafts import temporary_files_of
from edge_runtime.errors import DataError
from edge_runtime.terminal_text import escaped
from train.config import HEADS, SPLITS, TrainConfig
from train.models import NETWORKS, refuse_untaken

_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


def _own(option: str) -> str:
    """What help says of networks whose own default differs from the command's."""
    own = [f"{name} {entry.defaults[option]}" for name, entry in NETWORKS.items() if option in entry.defaults]
    return f" Of {', '.join(own)}." if own else ""


class _Devices(click.ParamType[int | None]):
    """A number from 1 on, or `auto`, which is None."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """As `click.IntRange(1)`."""
        return None if value == "auto" else click.IntRange(1).convert(value, param, ctx)


@click.command(cls=Command)
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--model", type=click.Choice(list(NETWORKS)), required=True, help="Network to train.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Run folder to write. It must not exist yet."
)
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="grouped",
    show_default=True,
    help="grouped: a new split by radiograph; folders: the split that the folders train, val and test make.",
)
@click.option(
    "--fractions",
    type=_SHARE,
    nargs=3,
    default=(0.7, 0.15, 0.15),
    show_default=True,
    help="Shares of train, validation and test in a grouped split.",
)
@click.option(
    "--coverage",
    type=_SHARE,
    help="Abstain so that of each class at least this share is never ruled out, such as 0.95. [default: never]",
)
@click.option(
    "--coverage-fraction",
    type=_SHARE,
    default=0.15,
    show_default=True,
    help="With --coverage: share of the radiographs that is set aside for it, before the others are split.",
)
@click.option(
    "--accept-leak", is_flag=True, help="Train even if test and train share radiographs; every figure is then marked."
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help=f"Number of passes over the training images.{_own('epochs')}",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Batch size.")
@click.option(
    "--image-size",
    type=click.IntRange(32, 1024),
    default=224,
    show_default=True,
    help=f"Side of the network's square input, in pixels.{_own('image_size')}",
)
@click.option(
    "--aspect",
    type=click.Choice(["pad", "stretch"]),
    default="pad",
    show_default=True,
    help="pad: keep the proportions, fill with black; stretch: fill the square.",
)
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Width of MobileNetV2, as a factor.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Weights that a pretrained network starts from: imagenet (downloaded; EfficientNet-Lite0's are in the package "
    "of the extra [lite0]), none, or the path of a file.",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    default="map",
    show_default=True,
    help="map: a pretrained network names the place too, taught by boxes where DATA has them; pooled: a probability "
    "alone.",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Augmented draws of each image that pretrained weights look at, once; on disk while training runs.",
)
@click.option(
    "--learning-rate",
    type=float,
    default=1e-3,
    show_default=True,
    help="Learning rate of random weights, in the first epoch.",
)
@click.option(
    "--fine-tune-rate",
    type=float,
    default=3e-4,
    show_default=True,
    help="Largest learning rate of pretrained weights: it warms up and falls by a cosine.",
)
@click.option(
    "--rotation",
    type=click.FloatRange(0, 180),
    default=20.0,
    show_default=True,
    help=f"Augmentation: largest rotation, in degrees.{_own('rotation')}",
)
@click.option(
    "--any-angle",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Augmentation: fraction of the images that is turned by any angle instead, and shrunk as turned files are."
    + _own("any_angle"),
)
@click.option(
    "--shift",
    type=click.FloatRange(0, 0.5),
    default=0.08,
    show_default=True,
    help=f"Augmentation: largest shift, as a fraction of the side.{_own('shift')}",
)
@click.option(
    "--zoom",
    type=click.FloatRange(0, 0.5),
    default=0.1,
    show_default=True,
    help=f"Augmentation: largest change of scale, as a fraction.{_own('zoom')}",
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Augmentation: flip left-right and up-down.")
@click.option(
    "--devices",
    type=_Devices(),
    default="auto",
    show_default=True,
    help="GPUs that train together, each with an equal share of every batch: their number, or auto for all there are.",
)
@click.option(
    "--groups",
    type=click.Path(dir_okay=False),
    help="CSV with columns path and group: files of one patient, which stay on one side of a split.",
)
@click.option(
    "--sensitivity",
    type=_SHARE,
    help="Choose the threshold that keeps this sensitivity on validation radiographs; without, by Youden's index, with "
    "chance smoothed away.",
)
@click.option(
    "--specificity",
    type=_SHARE,
    help="Choose the threshold that keeps this specificity on validation radiographs.",
)
@click.option("--positive", help="Name of the class folder that means fractured, if it cannot be recognised.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Random seed; the same seed gives the same network.",
)
@click.option(
    "--refit",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help="Fit the settings of a finished RUN again, on every image of DATA; threshold and figures stay those of RUN.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run: give the same --out and the same options.")
@click.option("--demo", is_flag=True, help="Train on the embedded data set instead of DATA.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.version_option(__version__, prog_name="edge-train")
@click.pass_context
def main(
    context: click.Context,
    /,
    data: Path | None,
    out: Path,
    refit: Path | None,
    resume: bool,
    devices: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a fracture detector on DATA.

    DATA contains folders train, val and test with class folders inside, or only class folders.

    Research use only: not a medical device.
    """
    if settings["demo"] == (data is not None):
        raise click.UsageError("one of DATA and --demo is needed, and not both")
    given = {name for name in settings if not _is_default(context, name)}
    settings = _with_own_defaults(settings, given)
    _refuse_ignored(settings, given, refit)
    from train.command_log import messages_on_standard_error
    from train.engine import train_and_evaluate
    from train.refit import read_finished_run, settings_of
    from train.run_folder import is_finished

    with messages_on_standard_error(), temporary_files_of("edge-train"):
        config = settings_of(read_finished_run(refit)) if refit else TrainConfig.from_options(**settings)
        if (config.model, config.demo) != (settings["model"], settings["demo"]):
            raise DataError(f"--refit {refit}: that run is of {config.model}{' and --demo' if config.demo else ''}")
        if resume and is_finished(out, config, data):
            click.echo(escaped(f"run: {out}, finished before"), err=True)
            click.echo((out / "metrics.json").read_text(encoding="utf-8") if as_json else "", nl=False)
            return
        evaluation = train_and_evaluate(config, data, out, resume, devices)
    if evaluation is None:
        click.echo(escaped(f"run: {out}; its figures are those of {config.refit}"))
    elif as_json:
        echo_result(json.dumps(evaluation.to_dict()))
    else:
        for row in evaluation.rows():
            figures, mark = row.figures, "  leaked" if row.leaked else ""
            click.echo(f"{row.title}: n {figures.count}, AUC {figures.auc}, accuracy {figures.accuracy}{mark}")
        click.echo(escaped(f"run: {out}"))


def _with_own_defaults(settings: dict[str, Any], given: set[str]) -> dict[str, Any]:
    """The settings; those that the user did not give are the demonstration's or the network's own, where it has any."""
    network = NETWORKS[settings["model"]]
    own = {**network.defaults, **({"split": "folders", **network.demo} if settings["demo"] else {})}
    settings = settings | {name: value for name, value in own.items() if name not in given}
    needed = network.random_settings if network.is_random(settings["weights"]) else {}
    return settings | {name: value for name, value in needed.items() if name not in given}


def _refuse_ignored(settings: Mapping[str, Any], given: set[str], refit: Path | None) -> None:
    """Refuses options that would change nothing.

    Raises:
        DataError: one of those that the user gave.
    """
    others = sorted(given - {"model", "demo"})
    if refit is not None and others:
        raise DataError(f"--{others[0].replace('_', '-')}: --refit takes every setting from the run")
    if "fractions" in given and settings["split"] == "folders":
        raise DataError("--fractions: with --split folders, and with --demo, the folders make the split")
    if "coverage_fraction" in given and settings["coverage"] is None:
        raise DataError("--coverage-fraction: is for --coverage")
    refuse_untaken(settings["model"], given, settings["weights"])


def _is_default(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT"


if __name__ == "__main__":
    main()
