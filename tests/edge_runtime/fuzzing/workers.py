"""Tries many cases in child processes that may crash, hang or grow, and counts what no case may do.

A case is a number: the same seed and number make the same case again. A child writes the number that it is at, so that
its parent knows which case killed it, and goes on with the next.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

LONGEST_S = 5  # for one case
CHUNK = 500  # cases of one child
ROOT = Path(__file__).parents[3]


class Fuzzer(Protocol):
    """A module that can be fuzzed."""

    MOST_BYTES: int  # of memory, at the peak of any case

    def prepare(self) -> object:
        """What all cases share."""

    def try_case(self, shared: object, random_: random.Random) -> str:
        """Makes a case and tries it: what became of it, in a word. Raises what must not come out."""


@dataclass
class Outcome:
    """What became of many cases."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0  # of one case
    longest_case: int = 0  # its number
    longest_refused_s: float = 0.0  # of one that was refused
    peak_bytes: int = 0  # of any child

    def line(self, seconds: float) -> str:
        told = ", ".join(f"{count} {word}" for word, count in sorted(self.counts.items()))
        return (
            f"{sum(self.counts.values())} cases in {seconds:.0f} s: {told}; longest {self.longest_s:.2f} s "
            f"(case {self.longest_case}), refused "
            f"within {self.longest_refused_s:.2f} s, peak {self.peak_bytes / 1e6:.0f} MB, {len(self.failures)} failures"
        )


def fuzz(module: str, count: int, seed: int, quiet: bool = False) -> Outcome:
    """Tries cases 0 to count - 1 of a module."""
    outcome, start = Outcome(), 0
    while start < count:
        start = _run_chunk(module, seed, start, min(count, start + CHUNK), outcome)
        if not quiet and sys.stderr.isatty():
            print(f"\r{start} of {count}, {len(outcome.failures)} failures", end="", file=sys.stderr)
    return outcome


def _run_chunk(module: str, seed: int, start: int, end: int, outcome: Outcome) -> int:
    """Number of the next case to try."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder, "at")
        command = [sys.executable, "-m", "tests.edge_runtime.fuzzing.workers", module, str(seed), str(start), str(end)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "XDG_CACHE_HOME": folder,
        }  # what was probed is forgotten
        done = subprocess.run(
            [*command, str(at)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        for line in done.stdout.splitlines():
            word, seconds, peak, number, *why = line.split("\t")
            outcome.counts[word] += 1
            if float(seconds) > outcome.longest_s:
                outcome.longest_s, outcome.longest_case = float(seconds), int(number)
            if word not in ("judged", "loaded"):
                outcome.longest_refused_s = max(outcome.longest_refused_s, float(seconds))
            outcome.peak_bytes = max(outcome.peak_bytes, int(peak))
            if why:
                outcome.failures.append(f"{module} seed {seed} case {why[0]}")
        if done.returncode == 0:
            return end
        number = int(at.read_text()) if at.exists() else start
        how = "hangs" if done.returncode == -signal.SIGALRM else f"ends with {done.returncode}"
        outcome.counts["crashed"] += 1
        outcome.failures.append(f"{module} seed {seed} case {number}: {how}\n{done.stderr[-2000:]}")
        return number + 1


def run_child(module: str, seed: int, start: int, end: int, at: Path) -> None:
    """Prints a line for each case: word, seconds, peak of memory, and of a failure its number and why."""
    fuzzer: Fuzzer = importlib.import_module(module)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    shared = fuzzer.prepare()
    for number in range(start, end):
        at.write_text(str(number))
        signal.alarm(LONGEST_S)  # no handler: native code would never let one run
        begin, failure = time.perf_counter(), ""
        try:
            word = fuzzer.try_case(shared, random.Random(f"{seed}/{number}"))
        except Exception as error:  # the finding
            word, failure = "failed", f"{number}: {type(error).__name__}: {error}"
        seconds, peak = time.perf_counter() - begin, max(peak_bytes(), peak_of_children())
        if peak > fuzzer.MOST_BYTES:
            word, failure = "failed", f"{number}: {peak / 1e6:.0f} MB"
        reset_peak()
        fields = [
            word,
            f"{seconds:.4f}",
            str(peak),
            str(number),
            *([failure.replace("\t", " ").replace("\n", " ")] if failure else []),
        ]
        print("\t".join(fields), flush=True)


def peak_bytes() -> int:
    """The most memory that was resident since the last reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def peak_of_children() -> int:
    """The same of the largest child process that this one has waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main(module: str, description: str) -> None:
    """The command line of a fuzzer."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="cases to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one case to try, in this process")
    options = parser.parse_args()
    if options.only is not None:
        fuzzer: Fuzzer = importlib.import_module(module)
        print(fuzzer.try_case(fuzzer.prepare(), random.Random(f"{options.seed}/{options.only}")))
        return
    begin = time.monotonic()
    outcome = fuzz(module, options.count, options.seed)
    for failure in outcome.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    print(f"{module.rpartition('.')[2]}: {outcome.line(time.monotonic() - begin)} (seed {options.seed})")
    sys.exit(1 if outcome.failures else 0)


if __name__ == "__main__":
    run_child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
