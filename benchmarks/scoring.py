"""edge-score with two workers beside two plain processes of edge-infer, in one run, on the same images.

    python -m benchmarks.scoring --model BUNDLE [--images 20000] [--rounds 2]
    python -m benchmarks.scoring --model BUNDLE --images 100000 --killed     # with deaths in the middle

Draws phantoms into a temporary folder. Each round lets both ways judge all images, one after the other; the figure is
the ratio of the rates, each from the first image to the last without the start of processes. Target: at least 0.9. Also
the memory of the driver, which must not grow with the number of images.

`--killed`: no rates; a worker is killed once a tenth of the parts is there, the driver at four tenths, and the same
command goes on. Counted are rows, images without one and images with several. `--pictures FOLDER` links the files of a
folder again and again in place of drawing; `--whole N` leaves all but so many without an image, which get their row of
an error in a tenth of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from train.phantom import draw

TARGET = 0.9
DIFFERENT = 200  # phantoms that are drawn; every copy differs in its first pixels
FOLDER = 1000  # images in one
PART_IMAGES = 500
WORKER_DIES, DRIVER_DIES = 0.1, 0.4  # of the parts are there
MARK = "EDGE_SCORING_BENCHMARK"  # in the environment of all processes of a run


def fill_archive(root: Path, count: int, pictures: Path | None, whole: int) -> None:
    if pictures is None:
        draw_archive(root, count)
        return
    sources = sorted(path for path in pictures.rglob("*") if path.is_file())
    for number in range(count):
        source = sources[number % len(sources)]
        path = root / f"{number // FOLDER:05d}" / f"{number:07d}{source.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number * whole // count == (number - 1) * whole // count:
            path.write_bytes(b"damaged")
        else:
            os.link(source, path)


def draw_archive(root: Path, count: int) -> None:
    phantoms = [draw(11, index, index % 2).image_u8 for index in range(DIFFERENT)]
    for number in range(count):
        image_u8 = phantoms[number % DIFFERENT].copy()
        image_u8[0, :3] = np.frombuffer(number.to_bytes(3, "little"), np.uint8)
        path = root / f"{number // FOLDER:05d}" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_u8).save(path, compress_level=1)


def score_command(archive: Path, out: Path, model: Path) -> list[str]:
    command = [sys.executable, "-m", "export.scoring.cli", archive, "--out", out, "--model", model, "--workers", "2"]
    return [*map(str, command), "--part-images", str(PART_IMAGES), "--json"]


def rate_of_score(archive: Path, out: Path, model: Path) -> tuple[float, float]:
    """(images a second, peak memory of the driver in MB)."""
    timed = ["/usr/bin/time", "-f", "peak %M", *score_command(archive, out, model)]
    done = subprocess.run(timed, capture_output=True, text=True, check=True)
    told, peak = json.loads(done.stdout), re.search(r"^peak (\d+)$", done.stderr, re.MULTILINE)
    return told["judged"] / told["seconds"], int(peak[1]) / 1024 if peak else float("nan")


def score_with_deaths(archive: Path, out: Path, model: Path) -> str:
    """What came of an archive although processes died."""
    images = {str(path) for path in archive.rglob("*") if path.is_file()}
    parts = -(-len(images) // PART_IMAGES)
    own = f"{MARK}={os.getpid()}"
    environment = {**os.environ, MARK: str(os.getpid())}
    driver = subprocess.Popen(score_command(archive, out, model), env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: parts_in(out) >= WORKER_DIES * parts, driver)
    os.kill(processes_of("ray::MapWorker", own)[0], signal.SIGKILL)
    at_worker = parts_in(out)
    wait_for(lambda: parts_in(out) >= DRIVER_DIES * parts, driver)
    peak = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{driver.pid}/status").read_text(), re.MULTILINE)
    driver.kill()
    driver.wait()
    at_driver = parts_in(out)
    wait_for(lambda: not processes_of("raylet", own))  # it goes with its driver
    rate, later_peak = rate_of_score(archive, out, model)
    rows = pq.read_table(out / "parts", columns=["path", "error_code"])
    counts = Counter(rows.column("path").to_pylist())
    return (
        f"{len(images)} images, {parts} parts; a worker killed after {at_worker}, the driver after {at_driver}: "
        f"{rows.num_rows} rows, {len(images - counts.keys())} images without one, "
        f"{sum(count > 1 for count in counts.values())} with several, "
        f"{rows.num_rows - rows.column('error_code').null_count} failed; "
        f"driver {int(peak[1]) / 1024 if peak else float('nan'):.0f} and {later_peak:.0f} MB, "
        f"{rate:.0f} images/s after it went on"
    )


def parts_in(out: Path) -> int:
    return len(list((out / "parts").glob("part-*.parquet")))


def processes_of(word: str, mark: str) -> list[int]:
    """Processes whose name holds a word, for Ray names its workers after what they do; `mark` is in their environment.

    Args:
        word: of the name.
        mark: `NAME=VALUE`.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, environment = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in name and mark.encode() in environment:
            found.append(int(path.name))
    return found


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen | None = None) -> None:
    while not condition():
        if driver is not None and driver.poll() is not None:
            raise RuntimeError("edge-score ended before it was killed: more images are needed")
        time.sleep(0.05)


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
    parser.add_argument("--killed", action="store_true", help="kill a worker and the driver in the middle")
    parser.add_argument("--pictures", type=Path, help="folder of images to link; by default phantoms are drawn")
    parser.add_argument("--whole", type=int, help="images among them, with --pictures; by default all")
    options = parser.parse_args()
    if options.whole and not options.pictures:
        parser.error("--whole needs --pictures")
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place, "archive")
        fill_archive(archive, options.images, options.pictures, options.whole or options.images)
        if options.killed:
            print(score_with_deaths(archive, Path(place, "results"), options.model), flush=True)
            return
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
