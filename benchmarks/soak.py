"""The watcher over 10,000 images: its memory, its pace, and one line for each.

    python -m benchmarks.soak --model BUNDLE [--images 10000] [--restarts 3] [--out FIGURES.json]

Images arrive a hundred at a time while `edge-infer --watch` runs, and stay in the folder; one in fifty is damaged. What
counts is the peak of the process (VmHWM), against that of a watcher that has judged one image; at most 2 MB more. The
last process meets all 10,000 as judged before. With `--restarts` it is killed (SIGKILL) so many times on the way.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.runtime import ENVIRONMENT, JPEG_QUALITY, SMALL, radiograph

LARGEST_GROWTH_BYTES = 2_000_000
ARRIVING = 100  # images at a time
DISTINCT = 20
DAMAGED_EVERY = 50
PATIENCE_S = 600


class Watcher:
    """A watching process."""

    def __init__(self, bundle: Path, inbox: Path, results: Path) -> None:
        self.results = results
        command = [Path(sys.executable).with_name("edge-infer"), "--model", bundle, "--watch", inbox, "--out", results]
        command += ["--poll", "0.2", "--settle", "0.5"]
        self.process = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL, env=ENVIRONMENT)

    def wait_for(self, lines: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while count_lines(self.results) < lines:
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{count_lines(self.results)} lines where {lines} were expected")
            time.sleep(0.05)

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait()


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def soak(bundle: Path, images: int, restarts: int, folder: Path) -> dict[str, float]:
    inbox, results, stock = folder / "inbox", folder / "results.jsonl", folder / "stock"
    inbox.mkdir()
    stock.mkdir()
    originals = [stock / f"{number}.jpg" for number in range(DISTINCT)]
    for number, path in enumerate(originals):
        radiograph(number, SMALL).save(path, quality=JPEG_QUALITY)
    damaged = stock / "damaged.jpg"
    damaged.write_bytes(originals[0].read_bytes()[:2000])

    shutil.copy(originals[0], inbox / "first.jpg")
    watcher = Watcher(bundle, inbox, results)
    watcher.wait_for(1)
    time.sleep(1)
    one = watcher.peak_bytes()
    kills = {images * (number + 1) // (restarts + 1) // ARRIVING for number in range(restarts)}
    start, most = time.perf_counter(), one
    for arrival in range(images // ARRIVING):
        for number in range(arrival * ARRIVING, (arrival + 1) * ARRIVING):
            shutil.copy(
                damaged if number % DAMAGED_EVERY == 0 else originals[number % DISTINCT], inbox / f"{number}.jpg"
            )
        if arrival in kills:
            time.sleep(0.3)
            most = max(most, watcher.peak_bytes())
            watcher.stop(signal.SIGKILL)
            watcher = Watcher(bundle, inbox, results)
        watcher.wait_for(1 + arrival * ARRIVING)  # one arrival behind, as the damaged ones settle
    watcher.wait_for(1 + images)
    seconds, most = time.perf_counter() - start, max(most, watcher.peak_bytes())
    exit_code = watcher.stop()
    lines = [json.loads(line) for line in results.read_bytes().splitlines()]
    again = Watcher(bundle, inbox, results)
    shutil.copy(originals[1], inbox / "last.jpg")
    again.wait_for(images + 2)
    figures = {
        "images": images,
        "restarts": restarts,
        "lines": len(lines),
        "files with a line": len({line["path"] for line in lines}),
        "error lines": sum("error" in line for line in lines),
        "images a second": images / seconds,
        "peak after one image, MB": one / 1e6,
        "peak after all, MB": most / 1e6,
        "growth, MB": (most - one) / 1e6,
        "peak of a restart that remembers all, MB": again.peak_bytes() / 1e6,
        "exit code": exit_code,
    }
    again.stop()
    return figures


def faults(figures: dict[str, float]) -> list[str]:
    """What is not as it must be."""
    images, damaged = figures["images"], -(-figures["images"] // DAMAGED_EVERY)
    expected = {"lines": images + 1, "files with a line": images + 1, "error lines": damaged, "exit code": 0}
    wrong = [f"{name}: {figures[name]}, expected {value}" for name, value in expected.items() if figures[name] != value]
    restart = figures["peak of a restart that remembers all, MB"] - figures["peak after one image, MB"]
    for name, growth in (("growth", figures["growth, MB"]), ("growth at a restart", restart)):
        if growth * 1e6 > LARGEST_GROWTH_BYTES:
            wrong.append(f"{name}: {growth:.2f} MB, at most {LARGEST_GROWTH_BYTES / 1e6:g} MB")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = soak(options.model.resolve(), options.images // ARRIVING * ARRIVING, options.restarts, Path(folder))
    for name, value in figures.items():
        print(f"{name:<42} {value:10.6g}")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit("\n".join(faults(figures)) or os.EX_OK)


if __name__ == "__main__":
    main()
