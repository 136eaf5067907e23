"""edge-score with two workers beside two plain processes of edge-infer, in one run, on the same images.

    python -m benchmarks.scoring --model BUNDLE [--images 20000] [--rounds 2]

Draws phantoms into a temporary folder. Each round lets both ways judge all images, one after the other; the figure is
the ratio of the rates, each from the first image to the last without the start of processes. Target: at least 0.9. Also
the memory of the driver, which must not grow with the number of images.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from train.phantom import draw

TARGET = 0.9
DIFFERENT = 200  # phantoms that are drawn; every copy differs in its first pixels
FOLDER = 1000  # images in one


def draw_archive(root: Path, count: int) -> list[Path]:
    phantoms = [draw(11, index, index % 2).image_u8 for index in range(DIFFERENT)]
    paths = []
    for number in range(count):
        image_u8 = phantoms[number % DIFFERENT].copy()
        image_u8[0, :3] = np.frombuffer(number.to_bytes(3, "little"), np.uint8)
        path = root / f"{number // FOLDER:05d}" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_u8).save(path, compress_level=1)
        paths.append(path)
    return paths


def rate_of_score(archive: Path, out: Path, model: Path) -> tuple[float, float]:
    """(images a second, peak memory of the driver in MB)."""
    command = [sys.executable, "-m", "export.scoring.cli", archive, "--out", out, "--model", model, "--workers", "2"]
    timed = ["/usr/bin/time", "-f", "peak %M", *map(str, command), "--json"]
    done = subprocess.run(timed, capture_output=True, text=True, check=True)
    told, peak = json.loads(done.stdout), re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    return told["judged"] / told["seconds"], int(peak[1]) / 1024 if peak else float("nan")


def rate_of_infer(folders: list[Path], model: Path) -> float:
    """Images a second of two processes, each with every second folder, from the first answer of the later one on."""
    command = [sys.executable, "-m", "edge_runtime.cli", "--model", str(model), "--threads", "1", "--json"]
    halves = [folders[0::2], folders[1::2]]
    processes = [
        subprocess.Popen([*command, *map(str, half)], stdout=subprocess.PIPE, text=True) for half in halves if half
    ]
    for process in processes:
        process.stdout.readline()
    start = time.monotonic()
    counts = [0] * len(processes)

    def count(index: int) -> None:
        counts[index] = sum(1 for _ in processes[index].stdout)

    readers = [threading.Thread(target=count, args=(index,)) for index in range(len(processes))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return sum(counts) / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="bundle")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place, "archive")
        draw_archive(archive, options.images)
        folders = sorted(archive.iterdir())
        ratios = []
        for number in range(options.rounds):
            scored, peak = rate_of_score(archive, Path(place, f"results{number}"), options.model)
            shutil.rmtree(Path(place, f"results{number}"))
            plain = rate_of_infer(folders, options.model)
            ratios.append(scored / plain)
            print(
                f"edge-score {scored:.0f} images/s, driver {peak:.0f} MB; edge-infer x 2 {plain:.0f} images/s",
                flush=True,
            )
        print(f"ratio {median(ratios):.2f} (target at least {TARGET})")


if __name__ == "__main__":
    main()
