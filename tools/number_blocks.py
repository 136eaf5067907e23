"""Groups of neighbouring numbers, for `--groups`: in FracAtlas radiographs of one patient bear numbers close together.

`python -m tools.number_blocks DATA > groups.csv` reads DATA/index.csv, or every image below DATA where there is none,
and puts IMG0000100 to IMG0000149 into one group, the next 50 into the next.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

BLOCK = 50  # numbers

_NUMBER = re.compile(r"(\d+)\.\w+$")


def blocks_of(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(path, group) of each path whose name ends in a number."""
    for path in paths:
        found = _NUMBER.search(path)
        if found:
            yield path, f"numbers from {int(found[1]) // BLOCK * BLOCK}"


def image_paths(data: Path) -> list[str]:
    """Paths of a data set's images, relative to it, sorted."""
    index = data / "index.csv"
    if index.is_file():
        with index.open(encoding="utf-8", newline="") as stream:
            return sorted(row["path"] for row in csv.DictReader(stream))
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data set")
    writer = csv.writer(sys.stdout)
    writer.writerow(["path", "group"])
    writer.writerows(blocks_of(image_paths(parser.parse_args().data)))


if __name__ == "__main__":
    main()
