"""make pi: packages, installed and run on emulated processors of the Raspberry Pi, against this machine and the gate.

python -m tools.pi.proof [--short] [--images N] BUNDLE...    a table on standard output, and pi.json

The first bundle is packaged; the others run on its installation. Exit code 0: all passed, or SKIPPED, with the reason;
4: something did not.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.bundle import FLOAT32, model_files, open_model, read_manifest
from edge_runtime.engines import suffix_of
from edge_runtime.preprocess import preprocess
from tools.pi.comparison import Row, compare
from tools.pi.debian import NotToBeHad
from tools.pi.device import MEMORY_MB, Device, WentWrong, install, judge_within_memory, serve
from tools.pi.emulator import BOOKWORM_32, BOOKWORM_64, CACHE, TRIXIE_64, System
from train.phantom import draw

FAILED = 4  # exit code
IMAGES, FEW_IMAGES = 400, 10  # of an int8 file of MobileNetV2; of any other file
FILE_SIZES = ((454, 373), (1200, 1600), (2304, 2880))  # width and height of the JPEG files that edge-infer judges there
_SEED = 60_607  # of the images
_LAYOUT = "{:<12} {:<21} {:<15} {:<11} {:>6} {:>9} {:>8} {:>8} | {:>8} {:>7} | {:>7} {}"
_HEAD = ("network", "file", "engine", "processor", "images", "same bits", "largest", "decided", "decided", "99th")


@dataclass(frozen=True)
class Plan:
    """One installation and what is tried on it."""

    system: System  # that the package is for
    engine: str  # of the package
    processors: tuple[str, ...]  # to emulate
    images: int = IMAGES  # of an int8 file of MobileNetV2


FULL = (
    Plan(BOOKWORM_64, "litert", BOOKWORM_64.processors),
    Plan(BOOKWORM_64, "onnxruntime", BOOKWORM_64.processors),
    Plan(BOOKWORM_32, "tflite-runtime", BOOKWORM_32.processors),
    # Another Python around the same kernels: that it installs and answers is what can differ.
    Plan(TRIXIE_64, "litert", TRIXIE_64.processors[-1:], FEW_IMAGES),
    Plan(TRIXIE_64, "onnxruntime", TRIXIE_64.processors[-1:], FEW_IMAGES),
)
SHORT = (Plan(TRIXIE_64, "litert", TRIXIE_64.processors[:1], FEW_IMAGES),)


def prove(plans: tuple[Plan, ...], bundles: list[Path], work: Path) -> Iterator[Row]:
    """A row for each installation, processor, bundle and model file.

    Raises:
        NotToBeHad: there is no emulator.
        WentWrong: an installation, a self-test or a command failed there.
    """
    for number, plan in enumerate(plans):
        folder = work / str(number)
        _tell(f"installing {plan.engine} on {plan.system}")
        device = install(plan.system, plan.engine, bundles[0], folder)
        _tell(f"installed: {device.installed_mb():.0f} MB")
        _write_files(folder / "files")
        _tell(judge_within_memory(device, plan.processors[0], folder / "files"))
        _tell(serve(device, plan.processors[-1], folder / "files"))
        for position, bundle in enumerate(bundles):
            copy = Path(shutil.copytree(bundle, folder / f"bundle-{position}"))
            np.save(folder / f"{copy.name}.npy", images_of(bundle, max(plan.images, FEW_IMAGES)))
            for processor in plan.processors:
                options = ["--model", f"/work/{copy.name}", "--self-test", "--engine", plan.engine]
                _tell(f"{processor}\n{device.edge_infer(processor, *options).rstrip()}")
                yield from _rows(device, plan, processor, copy)
        shutil.rmtree(folder)


@functools.cache
def images_of(bundle: Path, count: int) -> NDArray[np.uint8]:
    """(N, S, S), synthetic radiographs as its networks see them; image i is fractured where i is odd."""
    spec = open_model(bundle).spec
    return np.stack([preprocess(draw(_SEED, index, index % 2).image_u8, spec) for index in range(count)])


def _write_files(folder: Path) -> None:
    folder.mkdir()
    for index, size in enumerate(FILE_SIZES):
        Image.fromarray(draw(_SEED, index, index % 2).image_u8).resize(size).save(folder / f"{index}.jpg")


def _rows(device: Device, plan: Plan, processor: str, bundle: Path) -> Iterator[Row]:
    """Compares every model file of a bundle in the device's folder that the engine runs."""
    names = [name for name in model_files(read_manifest(bundle)) if name.endswith(suffix_of(plan.engine))]
    specs = {name: open_model(bundle / name).spec for name in names}
    name_of_float = next((name for name in names if specs[name].input.dtype == FLOAT32), names[0])
    images_u8 = np.load(bundle.with_suffix(".npy"))
    for name in names:
        spec = specs[name]
        is_many = spec.name.startswith("mobilenet") and spec.input.dtype != FLOAT32
        count = plan.images if is_many else FEW_IMAGES
        found, peak_mb = device.answers(processor, f"{bundle.name}.npy", count, f"{bundle.name}/{name}")
        here, exact = (_answers_here(bundle / each, images_u8[:count]) for each in (name, name_of_float))
        where = {"network": spec.name, "file": name, "precision": spec.input.dtype, "engine": plan.engine}
        where |= {"processor": processor}
        yield compare(where | {"system": str(plan.system)}, found, here, exact, spec.threshold, peak_mb)


def _answers_here(path: Path, images_u8: NDArray[np.uint8]) -> NDArray[np.float64]:
    predictor = Predictor(path)
    return np.array([predictor.probability(image_u8) for image_u8 in images_u8])


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _print(row: Row) -> None:
    where = (row.network, row.file, row.engine, row.processor)
    against_here = (row.images, row.identical, f"{row.largest:.4f}", row.decisions_changed)
    against_float = (row.changed_to_float, f"{row.percentile_99_to_float:.4f}")
    verdict = f"{'passed' if _is_good(row) else 'FAILED'} (gate: {row.verdict})"
    print(_LAYOUT.format(*where, *against_here, *against_float, f"{row.peak_mb:.0f}", verdict), flush=True)
    if not _is_good(row):
        print(f"  {'; '.join(row.reasons) or 'not the answers of this machine, or too much memory'}", flush=True)


def _is_good(row: Row) -> bool:
    return row.passed and row.peak_mb <= MEMORY_MB


def _plans(is_short: bool, images: int | None) -> tuple[Plan, ...]:
    """The installations to try; a number of images replaces the usual number, but not that of those with few."""
    plans = SHORT if is_short else FULL
    return tuple(replace(plan, images=images) if images and plan.images == IMAGES else plan for plan in plans)


def main(*arguments: str) -> int:
    """Prints the table; 0 where everything passed or nothing could be run, 4 where something did not."""
    parser = argparse.ArgumentParser(prog="tools.pi.proof", description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--images", type=int)
    given = parser.parse_args(arguments)
    plans = _plans(given.short, given.images)
    rows: list[Row] = []
    print(_LAYOUT.format(*[""] * 6, "against", "here", "against", "float", "", "").rstrip())
    print(_LAYOUT.format(*_HEAD, "peak MB", "").rstrip(), flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        try:
            for row in prove(plans, given.bundles, Path(work)):
                rows.append(row)
                _print(row)
        except NotToBeHad as error:
            print(f"make pi: SKIPPED because {error}")
        except WentWrong as error:
            print(f"FAILED: {error}")
            return FAILED
    Path("pi.json").write_text(json.dumps([asdict(row) | {"passed": row.passed} for row in rows], indent=1) + "\n")
    return 0 if all(map(_is_good, rows)) else FAILED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
