"""Strikes every writer at every operation, in every way, and looks at what is left: `python -m tests.faults.strikes`.

After each strike the earlier artefact is whole, or the new one is; the next start succeeds and leaves no litter.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.injection import BROKEN, DONE, FAULTS, KILL, REFUSED, Fault, count_operations, in_child
from tests.faults.installer import Installation
from tests.faults.writers import NEW, Writer, all_writers

LEAST_POINTS = 500  # of `make soak`


@dataclass(frozen=True)
class Point:
    """One strike."""

    writer: Writer
    number: int  # of the operation
    kind: str  # one of FAULTS

    def __str__(self) -> str:
        return f"{type(self.writer).__name__}, {self.kind} at operation {self.number}"


def all_points(writers: list[Writer], work: Path) -> Iterator[Point]:
    """Every operation of every writer, in every way."""
    for writer in writers:
        folder = fresh(writer, work)
        for number in range(1, count_operations(lambda: writer.act(folder), work / "count") + 1):  # noqa: B023
            yield from (Point(writer, number, kind) for kind in FAULTS)


def fresh(writer: Writer, work: Path) -> Path:
    """A folder with what the writer starts from."""
    base, folder = work / "bases" / type(writer).__name__, work / "points" / type(writer).__name__
    if not base.exists():
        base.mkdir(parents=True)
        writer.prepare(base)
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(base, folder))


def strike(point: Point, work: Path) -> list[str]:
    """What is wrong after a strike."""
    folder, writer = fresh(point.writer, work), point.writer
    ended = in_child(lambda: writer.act(folder), Fault(point.number, point.kind))
    wrong = []
    if ended == BROKEN or (ended < 0) != (point.kind == KILL):
        wrong.append(f"ended with {ended}")
    try:
        state = writer.state(folder)
        if state not in ((NEW,) if ended == DONE else writer.allowed):
            wrong.append(f"left {state}, after {'an error' if ended == REFUSED else ended}")
    except Exception as error:  # whatever reads it may fail in any way
        wrong.append(f"nothing whole is left: {error!r}")
    again = in_child(lambda: writer.act(folder), Fault(0, KILL))
    if again != DONE:
        return [*wrong, f"the next start ended with {again}"]
    if writer.state(folder) != NEW:
        wrong.append("the next start left the earlier artefact")
    litter = set(os.listdir(folder)) - set(writer.left)
    return [*wrong, f"litter: {', '.join(sorted(litter))}"] if litter else wrong


def main() -> None:
    """All points, and a line for each writer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="strike at every n-th point only")
    options = parser.parse_args()
    start, struck, wrong = time.perf_counter(), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for number, point in enumerate(all_points(all_writers(work), work)):
            if number % options.every == 0:
                struck[type(point.writer).__name__] += 1
                wrong += [f"{point}: {fault}" for fault in strike(point, work)]
        (work / "install").mkdir()
        installation = Installation(work / "install")
        for number, (at, kind) in enumerate(list(installation.strikes())):
            if number % options.every == 0:
                struck["install.sh"] += 1
                wrong += [f"install.sh, {kind} at program {at}: {fault}" for fault in installation.faults(at, kind)]
    for name, count in struck.items():
        print(f"{name:<24} {count:6} points")
    print(f"{struck.total()} points in {time.perf_counter() - start:.0f} s, {len(wrong)} faults")
    if options.every == 1 and struck.total() < LEAST_POINTS:
        wrong.append(f"{struck.total()} points, at least {LEAST_POINTS} were expected")
    sys.exit("\n".join(wrong) or os.EX_OK)


if __name__ == "__main__":
    main()
