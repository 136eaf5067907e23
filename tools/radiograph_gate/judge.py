"""Holds the gate to images that had no part in choosing it, through the device's own decoder: a table by kind."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey, read_image
from edge_runtime.radiograph_gate import look
from tools.radiograph_gate.corpus import FRACATLAS, JUDGE, find_others, find_radiographs
from tools.radiograph_gate.drawn import DRAWN, boneless

_LEAST_SIDE = 224  # as for a network of that size
_DRAWN_EACH = 60
_SEED = 999


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, help="one folder a source of sources.csv")
    parser.add_argument("data", type=Path, help="folder with multiregion and fracatlas")
    arguments = parser.parse_args()
    others: defaultdict[str, list[bool]] = defaultdict(list)
    for image in find_others(arguments.photographs, JUDGE):
        if (abstained := _abstains(image.path)) is not None:
            others[image.kind].append(abstained)
    radiographs = find_radiographs(arguments.data, JUDGE)
    for kind, abstained in _judge_drawn([r.path for r in radiographs if r.kind == FRACATLAS]):
        others[f"{kind} (drawn)"].append(abstained)
    print(f"{'no radiograph':32}{'images':>8}{'abstained':>11}")
    for kind, found in sorted(others.items()):
        print(f"{kind:32}{len(found):8}{np.mean(found):11.1%}")
    together = [one for found in others.values() for one in found]
    print(f"{'all':32}{len(together):8}{np.mean(together):11.1%}")
    groups: defaultdict[str, defaultdict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for image in radiographs:
        groups[image.kind][image.group].append(bool(_abstains(image.path)))
    print(f"{'radiographs':32}{'images':>8}{'abstained':>11}{'by group':>11}{'groups':>8}")
    for kind, of_kind in groups.items():
        images = [one for found in of_kind.values() for one in found]
        by_group = np.mean([np.mean(found) for found in of_kind.values()])
        print(f"{kind:32}{len(images):8}{np.mean(images):11.2%}{by_group:11.2%}{len(of_kind):8}")
    print(f"milliseconds a look, median: {_milliseconds([r.path for r in radiographs[:100]]):.2f}")


def _abstains(path: Path) -> bool | None:
    """Whether the gate withholds a decision; None where there is no image to decide on."""
    try:
        decoded = read_image(path, _LEAST_SIDE, colours=True)
    except ImageError:
        return None
    return not look(decoded.grey_u8, decoded.chroma_u8).is_radiograph


def _judge_drawn(radiographs: list[Path]) -> Iterator[tuple[str, bool]]:
    rng = np.random.default_rng(_SEED)
    for kind, draw in DRAWN.items():
        for _ in range(_DRAWN_EACH):
            yield kind, not look(draw(rng, JUDGE)).is_radiograph
    crops = 0
    while crops < _DRAWN_EACH:
        crop = boneless(rng, read_grey(radiographs[rng.integers(len(radiographs))]))
        if crop is not None:
            crops += 1
            yield "bones cropped away", not look(crop).is_radiograph


def _milliseconds(paths: list[Path]) -> float:
    taken = []
    for path in paths:
        decoded = read_image(path, _LEAST_SIDE, colours=True)
        start = time.perf_counter()
        look(decoded.grey_u8, decoded.chroma_u8)
        taken.append((time.perf_counter() - start) * 1e3)
    return float(np.median(taken))


if __name__ == "__main__":
    main()
