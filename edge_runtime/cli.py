"""edge-infer: judges X-ray images on the device."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime import __version__
from edge_runtime.command import Command
from edge_runtime.engines import AUTO, NAMES
from edge_runtime.errors import DataError, GateError, ImageError, ModelError, StorageError

if TYPE_CHECKING:
    from edge_runtime.predictor import Prediction, Predictor

EXIT_SOME_NOT_JUDGED = 1


@click.command(cls=Command)
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle folder or model file. [default: $EDGE_MODEL]")
@click.option("--engine", type=click.Choice([AUTO, *NAMES]), default=AUTO, show_default=True, help="Inference engine.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of the engine. [default: the engine's own]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an image.")
@click.option("--self-test", is_flag=True, help="Compare this machine with the one that exported the bundle.")
@click.version_option(__version__, prog_name="edge-infer")
def main(
    images: tuple[str, ...], model: Path | None, engine: str, threads: int | None, as_json: bool, self_test: bool
) -> int:
    """Say for each IMAGE whether it shows a fracture. Folders are searched; - reads one image from standard input.

    Research use only: not a medical device.
    """
    if self_test:
        if images:
            raise click.UsageError("--self-test takes no images: it uses those of the bundle")
        return _self_test(model, engine, threads, as_json)
    if not images:
        raise click.UsageError("give at least one image or folder, or - for standard input")
    from edge_runtime.predictor import Predictor

    return _judge_all(Predictor(model, engine, threads), images, as_json)


def _judge_all(predictor: Predictor, images: tuple[str, ...], as_json: bool) -> int:
    """Prints a result for every image; the exit code."""
    sources = _sources(images)
    failures = 0
    for source in sources:
        try:
            _print_prediction(predictor.predict(source), as_json)
        except (ImageError, StorageError) as error:
            failures += 1
            _print_failure(source, error, as_json)
    return EXIT_SOME_NOT_JUDGED if failures else 0


def _sources(images: tuple[str, ...]) -> list[Path | bytes]:
    from edge_runtime.images import STANDARD_INPUT, find_images

    sources: list[Path | bytes] = []
    for image in images:
        sources.extend([sys.stdin.buffer.read()] if image == STANDARD_INPUT else find_images([Path(image)]))
    if not sources:
        raise DataError(f"no image files found in {', '.join(images)}")
    return sources


def _print_prediction(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        text = json.dumps(prediction.to_dict(), ensure_ascii=False)
    else:
        text = f"{prediction.decision:<13}  {prediction.probability:.3f}  {prediction.path}"
    _write_line(text)


def _print_failure(source: Path | bytes, error: ImageError | StorageError, as_json: bool) -> None:
    if as_json:
        path = "-" if isinstance(source, bytes) else str(source)
        code = error.code if isinstance(error, ImageError) else "storage"
        _write_line(json.dumps({"path": path, "error": {"code": code, "message": str(error)}}, ensure_ascii=False))
    else:
        click.echo(f"error: {error}", err=True)


def _write_line(text: str) -> None:
    # File names need not be valid text; what cannot be encoded is escaped instead of ending the run.
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def _self_test(model: Path | None, engine: str, threads: int | None, as_json: bool) -> int:
    from edge_runtime.predictor import model_path
    from edge_runtime.self_test import run_self_test

    bundle = model_path(model)
    if not bundle.is_dir():
        raise ModelError(f"{bundle}: --self-test needs a bundle folder")
    results = []
    for result in run_self_test(bundle, threads, engine):
        results.append(result)
        if as_json:
            _write_line(json.dumps({**result.__dict__, "passed": result.passed}))
        else:
            verdict = "passed" if result.passed else "FAILED"
            _write_line(
                f"{verdict}  {result.file:<22} {result.engine:<22} {result.images} images, "
                f"largest difference {result.largest_difference:.6f} (allowed {result.tolerance:g})"
            )
    failed = sum(not result.passed for result in results)
    if failed:
        raise GateError(f"{failed} of {len(results)} do not answer as on the machine that exported the bundle")
    return 0


if __name__ == "__main__":
    main()
