"""Feeds damaged image files to the decoder for a while: nothing but an ImageError may come out.

    python tests/edge_runtime/fuzz_images.py --seconds 60 --seed 0

Whole files of every format are cut short, altered bit by bit and byte by byte, and spliced together, then read and
preprocessed in a child process with little memory and an alarm clock. A file that raises anything else, crashes the
child or takes too long is kept in `--keep`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

# The folder of this file is where Python looks first.
from test_images import mutated, seed_files

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec

MEMORY_BYTES = 1 << 30  # that a child may take on top of what it has when it begins
LONGEST_S = 20  # for one file
CHILD_S = 10  # seconds after which a fresh child goes on
SPEC = ModelSpec("fuzz", 32, "pad", "bilinear", ("a", "b"), 0.5, "phantom")


def damaged(files: list[bytes], random_: random.Random) -> bytes:
    """One file with something done to it."""
    content = random_.choice(files)
    kind = random_.random()
    if kind < 0.6:
        return mutated(content, random_)
    if kind < 0.7:
        return content[: random_.randrange(len(content))]
    if kind < 0.85:
        flipped = bytearray(content)
        for _ in range(random_.choice([1, 1, 3, 10])):
            flipped[random_.randrange(len(flipped))] ^= 1 << random_.randrange(8)
        return bytes(flipped)
    other = random_.choice(files)
    return content[: random_.randrange(len(content))] + other[random_.randrange(len(other)) :]


def judge(content: bytes, random_: random.Random) -> bool:
    """Whether the file could be read; raises what must not come out."""
    try:
        grey_u8 = read_grey(content, random_.choice([None, SPEC.size]))
    except ImageError:
        return False
    square_u8 = preprocess(grey_u8, SPEC)
    if (square_u8.dtype, square_u8.shape) != (np.uint8, (SPEC.size, SPEC.size)):
        raise TypeError(f"{square_u8.dtype} {square_u8.shape} from an image of {grey_u8.shape}")
    return True


def run_child(seed: str, seconds: float, case: Path) -> None:
    """Prints how many files were tried and how many could be read; the file at work lies in `case`."""
    limit_memory(MEMORY_BYTES)
    random_ = random.Random(seed)
    noise = Image.effect_noise((96, 64), 60)
    files = [content for image in (noise, noise.resize((500, 400))) for content in seed_files(image).values()]
    end, tried, read = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        content = damaged(files, random_)
        case.write_bytes(content)
        signal.alarm(LONGEST_S)
        read += judge(content, random_)
        tried += 1
    print(tried, read)


def limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def fuzz(seconds: float, seed: int, keep: Path) -> int:
    """Number of failures."""
    end, tried, read, failures, number = time.monotonic() + seconds, 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder, "case")
        while (left := end - time.monotonic()) > 0:
            command = [sys.executable, __file__, "--child", f"{seed}/{number}", "--seconds", str(min(left, CHILD_S))]
            done = subprocess.run([*command, "--keep", str(case)], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                tried, read = (
                    before + int(new) for before, new in zip((tried, read), done.stdout.split(), strict=True)
                )
            else:
                failures += 1
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{seed}-{number}"
                kept.write_bytes(case.read_bytes() if case.exists() else b"")
                print(f"FAILED ({done.returncode}): {kept}\n{done.stderr}", file=sys.stderr)
            number += 1
    print(f"{tried} damaged files, {read} of them readable, {failures} failures (seed {seed})")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for files that fail")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(options.child, options.seconds, options.keep)
    elif fuzz(options.seconds, options.seed, options.keep):
        sys.exit(1)


if __name__ == "__main__":
    main()
