"""edge-infer: judges X-ray images on the device."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime import __version__
from edge_runtime.command import Command, NamedPath
from edge_runtime.engines import AUTO, NAMES
from edge_runtime.errors import DataError, DependencyError, GateError, ImageError, ModelError, StorageError
from edge_runtime.json_lines import encode_line, failure_record
from edge_runtime.limits import DEFAULT_LIMITS, MEGABYTE, MOST_HELD_BYTES, Limits
from edge_runtime.terminal_text import escaped
from edge_runtime.watching.options import poll_option, settle_option

if TYPE_CHECKING:
    from edge_runtime.predictor import Prediction, Predictor
    from edge_runtime.self_test import SelfTestResult
    from edge_runtime.watching.watcher import WatchSettings

EXIT_SOME_NOT_JUDGED = 1


def _tell_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """Prints the versions of program and network, and ends."""
    if not asked or context.resilient_parsing:
        return
    from edge_runtime.bundle import describe_network

    click.echo(f"edge-infer, version {__version__}\nnetwork: {escaped(describe_network(context.params.get('model')))}")
    context.exit()


@click.command(cls=Command)
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option(
    "--model",
    type=NamedPath(path_type=Path),
    is_eager=True,  # --version tells which network it is
    help="Bundle folder or model file. [default: $EDGE_MODEL, else the network in this package]",
)
@click.option("--engine", type=click.Choice([AUTO, *NAMES]), default=AUTO, show_default=True, help="Inference engine.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of the engine. [default: the engine's own]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an image.")
@click.option("--frame", type=click.IntRange(1), help="Of a DICOM file with several: which one, from 1.")
@click.option(
    *("--radiograph-gate/--no-radiograph-gate",),
    default=True,
    show_default=True,
    help="Abstain where an image is no radiograph.",
)
@click.option(
    "--require-signature",
    type=NamedPath(dir_okay=False, path_type=Path),
    help="Use a bundle only if this public key has signed it.",
)
@click.option(
    *("--decode-limit", "decode_mb"),
    type=click.IntRange(1, 1_000_000),
    default=DEFAULT_LIMITS.decoded_bytes // MEGABYTE,
    show_default=True,
    help="MB that decoding an image may take.",
)
@click.option(
    *("--side-limit", "side"),
    type=click.IntRange(1, 1_000_000),
    default=DEFAULT_LIMITS.side,
    show_default=True,
    help="Pixels that a side of an image may have.",
)
@click.option(
    *("--file-limit", "file_mb"),
    type=click.IntRange(1, 1_000_000),
    default=DEFAULT_LIMITS.file_bytes // MEGABYTE,
    show_default=True,
    help="MB that an image file may have.",
)
@click.option(
    *("--tta", "turns"),
    type=click.Choice(["1", "2", "4"]),
    default="1",
    show_default=True,
    help="Judge each image turned in so many directions, and take the mean: slower, and steadier under rotation.",
)
@click.option(
    "--heatmap",
    type=click.Path(path_type=Path),
    help="Write where the network looked over the image: a PNG file; a folder for several images.",
)
@click.option(
    *("--csv", "table"),
    type=NamedPath(dir_okay=False, path_type=Path),
    help="Write all answers as a table too, a row an image; a file there is replaced.",
)
@click.option("--operating-point", help="Threshold by its name, where the network has several. [default: its own]")
@click.option("--self-test", is_flag=True, help="Compare this machine with the one that exported the bundle.")
@click.option("--bench", type=click.IntRange(1, 1_000_000), help="Measure speed: judge every image so many times.")
@click.option(
    "--watch", type=NamedPath(exists=True, file_okay=False, path_type=Path), help="Judge each new image in a folder."
)
@click.option("--out", type=NamedPath(dir_okay=False, path_type=Path), help="With --watch: file for the results.")
@poll_option
@settle_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the versions of program and network, and exit.",
)
def main(
    images: tuple[str, ...],
    model: Path | None,
    engine: str,
    threads: int | None,
    as_json: bool,
    frame: int | None,
    radiograph_gate: bool,
    decode_mb: int,
    side: int,
    file_mb: int,
    require_signature: Path | None,
    turns: str,
    heatmap: Path | None,
    table: Path | None,
    operating_point: str | None,
    self_test: bool,
    bench: int | None,
    watch: Path | None,
    out: Path | None,
    poll_s: float,
    settle_s: float,
) -> int:
    """Say for each IMAGE whether it shows a fracture. Folders are searched; - reads one image from standard input.

    Research use only: not a medical device.
    """
    if (watch is None) != (out is None):
        raise click.UsageError("--watch DIR and --out FILE belong together")
    if sum([self_test, bench is not None, watch is not None]) > 1:
        raise click.UsageError("--self-test, --bench and --watch: one at a time")
    if images and (self_test or watch):
        raise click.UsageError(f"{'--self-test' if self_test else '--watch'} takes no images: it finds its own")
    if (frame or heatmap or table or turns != "1") and (self_test or bench or watch):
        raise click.UsageError("--frame, --tta, --heatmap and --csv are for images that are given")
    if operating_point and (self_test or bench):
        raise click.UsageError("--operating-point is for images that get an answer")
    limits = Limits(decode_mb * MEGABYTE, side, file_mb * MEGABYTE)
    if require_signature:
        _require_signature(model, require_signature)
    if watch and out:
        from edge_runtime.watching.watcher import WatchSettings

        of_predictor = (model, engine, threads, radiograph_gate, limits, operating_point)
        return _watch(WatchSettings(watch, out, poll_s, settle_s, *of_predictor))
    if self_test:
        return _self_test(model, engine, threads, as_json)
    if bench:
        return _bench(images, bench, model, engine, threads, as_json)
    if not images:
        raise click.UsageError("give at least one image or folder, or - for standard input")
    from edge_runtime.loading import load_predictor

    predictor = load_predictor(model, engine, threads, radiograph_gate, limits, operating_point)
    if heatmap and not predictor.has_heatmap:
        raise ModelError(f"{predictor.model.path}: has no heatmap: networks with a map before pooling give one")
    return _judge_all(predictor, images, _Wishes(frame, int(turns), heatmap, table), as_json)


def _require_signature(model: Path | None, key: Path) -> None:
    from edge_runtime.bundle import model_path
    from edge_runtime.device.signatures import load_public_key, verify_folder

    bundle = model_path(model)
    if not bundle.is_dir():
        raise ModelError(f"{bundle}: --require-signature needs a bundle folder: a single file bears no signature")
    verify_folder(bundle, load_public_key(key))


@dataclass(frozen=True)
class _Wishes:
    """What is asked of each image beside its decision."""

    frame: int | None  # of a DICOM file
    turns: int  # directions in which it is judged
    heatmap: Path | None  # where pictures go: a file of one image, a folder of several
    table: Path | None  # CSV file of all answers


def _judge_all(predictor: Predictor, images: tuple[str, ...], wishes: _Wishes, as_json: bool) -> int:
    """Prints a result for every image, and after a folder what they sum up to; the exit code."""
    from edge_runtime.progress_line import ProgressLine
    from edge_runtime.reports import TableFile, Tally

    tally = Tally()
    with TableFile(wishes.table) if wishes.table else contextlib.nullcontext() as table:
        listeners = [tally.add, *([table.add] if table else [])]
        sources = _sources(images, predictor.limits)
        with ProgressLine(len(sources)) as line:
            code = _judge_each(predictor, sources, wishes, as_json, [*listeners, line.add], line.clear)
    if not as_json and tally.total > 1 and any(image and Path(image).is_dir() for image in images):
        click.echo(str(tally), err=True)
    return code


def _judge_each(
    predictor: Predictor,
    sources: Sequence[Path | bytes | _NoImage],
    wishes: _Wishes,
    as_json: bool,
    listeners: Sequence[Callable[[dict[str, Any]], None]],
    before_printing: Callable[[], None],
) -> int:
    pictures = None
    if wishes.heatmap is not None:
        from edge_runtime.heatmap_files import HeatmapFiles

        pictures = HeatmapFiles(wishes.heatmap, len(sources), predictor, wishes.frame)
    code = 0
    for source in sources:
        try:
            if isinstance(source, _NoImage):
                raise source.error
            prediction = predictor.predict(source, wishes.frame, wishes.turns, pictures is not None)
            if pictures is not None:
                pictures.write(source, prediction)
            before_printing()
            _print_prediction(prediction, as_json)
            record = prediction.to_dict()
        except (ImageError, DependencyError, StorageError) as error:
            # A missing package is the same for all images, and the one failure that a command mends.
            is_dependency = isinstance(error, DependencyError)
            code = DependencyError.exit_code if is_dependency else code or EXIT_SOME_NOT_JUDGED
            named = source.path if isinstance(source, _NoImage) else source
            before_printing()
            _print_failure(named, error, as_json)
            record = failure_record("-" if isinstance(named, bytes) else named, error)
        for tell in listeners:
            tell(record)
    return code


@dataclass(frozen=True)
class _NoImage:
    """What was named and leads to no image: an error of its own, so that it neither vanishes nor stops the others."""

    path: str  # as given
    error: ImageError


def _sources(images: tuple[str, ...], limits: Limits) -> list[Path | bytes | _NoImage]:
    from edge_runtime.images import STANDARD_INPUT, find_images

    sources: list[Path | bytes | _NoImage] = []
    for image in images:
        if image == STANDARD_INPUT:
            sources.append(_standard_input(limits))
        elif not image:  # which the system would take for the current folder
            sources.append(_NoImage(image, ImageError("an empty name: no such file", "missing")))
        else:
            none = _NoImage(image, ImageError(f"{image}: no image files found in this folder", "empty"))
            sources.extend(find_images([Path(image)]) or [none])
    return sources


def _standard_input(limits: Limits) -> bytes | _NoImage:
    """What comes there, as far as it may lie in memory."""
    most = min(limits.file_bytes, MOST_HELD_BYTES)
    content = sys.stdin.buffer.read(most + 1) if sys.stdin else b""  # closed, as under some daemons
    if len(content) <= most:
        return content
    message = f"standard input: more than {most / MEGABYTE:.0f} MB; give it as a file"
    return _NoImage("-", ImageError(message, "too_large"))


def _print_prediction(prediction: Prediction, as_json: bool) -> None:
    from edge_runtime.predictor import PHANTOM_WARNING

    if as_json:
        _write(encode_line(prediction.to_dict()))
    else:
        why = f"  ({prediction.reason})" if prediction.decision == "abstain" else ""
        # On the line itself, for it is true of every answer and must not be cut off from any.
        why += "  (warning: a network of phantoms, no answer for a patient)" if prediction.domain == "phantom" else ""
        _write_text(f"{prediction.decision:<13}  {prediction.probability:.3f}  {escaped(str(prediction.path))}{why}")
        for warning in prediction.warnings:
            if warning != PHANTOM_WARNING:
                _tell_warning(f"{prediction.path}: {warning}")


def _print_failure(
    source: Path | bytes | str, error: ImageError | DependencyError | StorageError, as_json: bool
) -> None:
    if as_json:
        _write(encode_line(failure_record("-" if isinstance(source, bytes) else source, error)))
    else:
        click.echo(f"error: {escaped(str(error))}", err=True)


def _tell_warning(text: str) -> None:
    click.echo(f"warning: {escaped(text)}", err=True)


def _write_text(text: str) -> None:
    # File names need not be valid text; what cannot be encoded is escaped instead of ending the run.
    _write(text.encode("utf-8", "backslashreplace") + b"\n")


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _self_test(model: Path | None, engine: str, threads: int | None, as_json: bool) -> int:
    from edge_runtime.bundle import model_path
    from edge_runtime.self_test import run_self_test

    bundle = model_path(model)
    if not bundle.is_dir():
        raise ModelError(f"{bundle}: --self-test needs a bundle folder")
    results = []
    for result in run_self_test(bundle, threads, engine):
        results.append(result)
        if as_json:
            _write(encode_line({**result.__dict__, "passed": result.passed}))
        else:
            _write_text(_self_test_line(result))
    failed = sum(not result.passed for result in results)
    if failed:
        raise GateError(f"{failed} of {len(results)} do not answer as on the machine that exported the bundle")
    return 0


def _self_test_line(result: SelfTestResult) -> str:
    line = (
        f"{'passed' if result.passed else 'FAILED'}  {result.file:<22} {result.engine:<22} {result.images} images, "
        f"largest difference {result.largest_difference:.6f} (allowed {result.tolerance:.6f}), "
        f"decisions changed {result.decisions_changed}"
    )
    if not result.passed:
        line += f"; {result.worst_image}: {result.expected:.6f} expected, {result.found:.6f} found"
    return line


def _bench(
    images: tuple[str, ...], repetitions: int, model: Path | None, engine: str, threads: int | None, as_json: bool
) -> int:
    from edge_runtime.loading import load_predictor

    predictor = load_predictor(model, engine, threads, radiograph_gate=False)  # the network is what is measured
    from edge_runtime.bench import bench_images, run_bench  # after it: with this comes numpy

    found = bench_images(model, [Path(image) for image in images])
    if not found:
        raise DataError(f"no image files found in {', '.join(images)}")
    if sys.stderr.isatty():
        with click.progressbar(length=repetitions * len(found), file=sys.stderr, show_pos=True) as bar:
            result = run_bench(predictor, found, repetitions, tick=lambda: bar.update(1))
    else:  # where click would still print an empty line
        result = run_bench(predictor, found, repetitions)
    if as_json:
        _write(encode_line(result.to_dict()))
    else:
        _write_text(result.to_table())
    return 0


def _watch(settings: WatchSettings) -> int:
    from edge_runtime.watching.watcher import watch

    watch(settings, tell=lambda message: click.echo(escaped(message), err=True))
    return 0


if __name__ == "__main__":
    main()
