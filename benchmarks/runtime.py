"""What a user of edge-infer waits for, beside the barest script with the same libraries, in one run.

    python -m benchmarks.runtime --model BUNDLE [--repetitions 15] [--folder 400] [--out FIGURES.json]

Whole processes, started in turn so that all meet the same load; medians, and beside them the ratios of processor time,
which other programs disturb less. The bundle needs `model_int8.tflite`.

- first answer: from the start of the process to its first line; at most 1.15 times the barest script's
- folder: images a second over as many files of 373 x 454 pixels, from start to end; at least 0.9 times the barest
  script's
- large: the first answer on a JPEG of 2304 x 2880 pixels; at most 2 times that on one of 373 x 454. A PNG cannot be
  decoded reduced; it is shown without a target. The milliseconds are those inside a process that runs already
- memory: peak of a process that judges one image; at most 150 MB
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from train.phantom import draw

SMALL, LARGE = (373, 454), (2304, 2880)  # pixels: width, height
TARGETS = {
    "first answer, times the barest script": (1.15, "at most"),
    "folder, rate times the barest script's": (0.90, "at least"),
    "one large JPEG, times one small one": (2.0, "at most"),
    "peak memory, MB, small JPEG": (150.0, "at most"),
    "peak memory, MB, large JPEG": (150.0, "at most"),
    "peak memory, MB, large PNG": (150.0, "at most"),
}
JPEG_QUALITY = 90
NOISE = 6  # standard deviation in grey values: a detector's, and what makes a JPEG slow to decode


def radiograph(seed: int, size: tuple[int, int]) -> Image.Image:
    """A phantom of that size with the noise of a detector."""
    phantom = Image.fromarray(draw(seed, seed, seed % 2).image_u8).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).normal(0, NOISE, (size[1], size[0]))
    return Image.fromarray(np.clip(np.asarray(phantom) + noise, 0, 255).astype(np.uint8))


# As installed: compiled once and not at every start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Run:
    """Seconds of one process, or medians of several."""

    first: float  # from its start to its first line
    end: float  # from its start to its end
    processor: float  # that it kept a processor busy; what else runs on the machine hardly changes it


def run(command: list[str | Path]) -> Run:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        process.stdout.readline()
        first = time.perf_counter() - start
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {process.returncode}")
    return Run(first, time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def interleaved(commands: list[list[str | Path]], repetitions: int) -> list[Run]:
    """Medians of each command, run in turn, after a round that fills caches."""
    rounds = [[run(command) for command in commands] for _ in range(repetitions + 1)][1:]
    return [
        Run(*(median(getattr(one, field.name) for one in runs) for field in fields(Run)))
        for runs in zip(*rounds, strict=True)
    ]


def bench(edge_infer: list[str | Path], repetitions: int, image: Path) -> dict:
    command = [*edge_infer, "--bench", str(repetitions), "--json", image]
    return json.loads(subprocess.run(command, capture_output=True, check=True, env=ENVIRONMENT).stdout)


def measure(bundle: Path, folder: Path, repetitions: int, images: int) -> dict[str, float]:
    edge_infer = [Path(sys.executable).with_name("edge-infer"), "--model", bundle, "--engine", "litert"]
    bare = [sys.executable, Path(__file__).with_name("bare_inference.py"), bundle / "model_int8.tflite"]
    many = [folder / f"{number:04d}.jpg" for number in range(images)]
    for number, path in enumerate(many):
        radiograph(number % 20, SMALL).save(path, quality=JPEG_QUALITY)
    large_jpeg, large_png, small_png = folder / "large.jpeg", folder / "large.png", folder / "small.png"
    radiograph(1, LARGE).save(large_jpeg, quality=JPEG_QUALITY)
    radiograph(1, LARGE).save(large_png)
    radiograph(1, SMALL).save(small_png)

    bare_one, edge_one, large_one, large_png_one = interleaved(
        [[*bare, many[0]], [*edge_infer, many[0]], [*edge_infer, large_jpeg], [*edge_infer, large_png]], repetitions
    )
    bare_all, edge_all = interleaved([[*bare, *many], [*edge_infer, *many]], max(3, repetitions // 3))
    of = {path.name: bench(edge_infer, 30, path) for path in (many[1], small_png, large_jpeg, large_png)}
    total = {name: result["milliseconds"]["total"]["median"] for name, result in of.items()}
    return {
        "first answer, s": edge_one.first,
        "first answer, s, barest script": bare_one.first,
        "first answer, times the barest script": edge_one.first / bare_one.first,
        "the same in processor time": edge_one.processor / bare_one.processor,
        "folder, images a second": images / edge_all.end,
        "folder, images a second, barest script": images / bare_all.end,
        "folder, rate times the barest script's": bare_all.end / edge_all.end,
        "the same rate in processor time": bare_all.processor / edge_all.processor,
        "one large JPEG, times one small one": large_one.first / edge_one.first,
        "one large PNG, times one small JPEG": large_png_one.first / edge_one.first,
        "small JPEG, ms": total["0001.jpg"],
        "large JPEG, ms": total["large.jpeg"],
        "small PNG, ms": total["small.png"],
        "large PNG, ms": total["large.png"],
        "peak memory, MB, small JPEG": of["0001.jpg"]["peak_memory_mb"],
        "peak memory, MB, large JPEG": of["large.jpeg"]["peak_memory_mb"],
        "peak memory, MB, large PNG": of["large.png"]["peak_memory_mb"],
    }


def verdict(name: str, value: float) -> str:
    if name not in TARGETS:
        return ""
    limit, direction = TARGETS[name]
    met = value <= limit if direction == "at most" else value >= limit
    return f"{direction} {limit:g}: {'met' if met else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="bundle with model_int8.tflite")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--folder", type=int, default=400, help="images in the folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options.model.resolve(), Path(folder), options.repetitions, options.folder)
    print(f"load of the machine while measuring: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for name, value in figures.items():
        print(f"{name:<42} {value:8.3f}  {verdict(name, value)}".rstrip())
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
