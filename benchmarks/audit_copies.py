"""How many planted copies edge-audit finds, and how many it makes up, beside imagehash and imagededup on the same.

    python -m benchmarks.audit_copies                                                 # on phantoms, drawn for this
    python -m benchmarks.audit_copies --source $EDGE_DATA/fracatlas --half judge
    python -m benchmarks.audit_copies --rotations --alone                             # rotated copies, edge-audit alone

Thresholds were chosen on `--half choose`; `--half judge` holds the other images. Each source gets one copy of one
kind, so no copy is found through another. Sources with identical pixels are taken once; every link between two
different sources counts as false, and is listed to be looked at. imagededup needs torch: where this Python has not got
it, `--imagededup-python` names one that has (python -m venv DIR; DIR/bin/pip install imagededup).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.other_finders import Pairs, other_finders
from benchmarks.planted_copies import Kind, other_kinds, rotation_kinds
from edge_runtime.errors import EdgeError
from edge_runtime.images import find_images, read_grey
from train.audit import group_images, take_inventory
from train.audit.contents import hash_pixels, is_blank
from train.phantom import draw

HALVES_SEED = 5  # the same whatever --seed is: no image that a threshold was chosen on is ever judged

# Images of FracAtlas that are copies of others in it, by number: re-taken or re-processed, confirmed by eye. They are
# no sources, since a link between them would be right.
COPIES_IN_FRACATLAS = frozenset(
    f"IMG{number.zfill(7)}"
    for number in (
        "164 204 237 240 436 1365 1382 1569 2027 2305 2306 2340 2518 "
        "3426 4061 4067 4068 4113 4117 4150 4187 4206 4209 4217 4232"
    ).split()
)


def plant(
    source: Path, folder: Path, half: str | None, seed: int, limit: int | None, kinds: dict[str, Kind]
) -> dict[str, str]:
    """Writes sources and their copies, and returns the kind of each copy by its stem."""
    paths = find_images([source])
    np.random.default_rng(HALVES_SEED).shuffle(paths)
    if half is not None:
        paths = paths[: len(paths) // 2] if half == "choose" else paths[len(paths) // 2 :]
    np.random.default_rng(seed).shuffle(paths)
    names, seen, planted = list(kinds), set(), {}
    for path in paths[:limit]:
        try:
            grey_u8 = read_grey(path)
        except EdgeError:
            continue
        if path.stem in COPIES_IN_FRACATLAS:
            continue
        if is_blank(grey_u8) or hash_pixels(grey_u8) in seen:
            continue
        number = len(seen)
        seen.add(hash_pixels(grey_u8))
        image, kind = Image.fromarray(grey_u8), names[number % len(names)]
        # The two classes stand for nothing here; the audit asks for them.
        image.save(folder / "normal" / f"{number:05}.png")
        rng = np.random.default_rng([seed, number])
        kinds[kind](image, rng).save(folder / "fractured" / f"{number:05}~copy.png")
        planted[f"{number:05}~copy"] = kind
    return planted


def draw_phantoms(folder: Path, count: int, seed: int) -> Path:
    """Returns the folder, now with phantoms: independent by construction, so that every link between them is false."""
    for index in range(count):
        Image.fromarray(draw(seed, index).image_u8).save(folder / f"{index:05}.png")
    return folder


def find_with_audit(folder: Path) -> Pairs:
    inventory = take_inventory(folder)
    groups = group_images(inventory)
    stems = [Path(record.path).stem for record in inventory.records]
    members: dict[int, list[str]] = {}
    for stem, group in zip(stems, groups.tolist(), strict=True):
        members.setdefault(group, []).append(stem)
    return {(a, b) for group in members.values() for a in group for b in group if a < b}


def judge(found: Pairs, planted: dict[str, str]) -> dict[str, float | int]:
    """Recall over planted pairs, precision over all pairs said, and false links between different sources."""
    source = {stem: stem.split("~")[0] for pair in found for stem in pair}
    right = {pair for pair in found if source[pair[0]] == source[pair[1]]}
    rotations = [copy for copy, kind in planted.items() if kind in rotation_kinds()]
    hit = {pair[1] for pair in right}
    return {
        "recall": sum(copy in hit for copy in planted) / len(planted),
        "recall, rotation only": sum(copy in hit for copy in rotations) / max(1, len(rotations)),
        "precision": len(right) / max(1, len(found)),
        "wrong pairs": len(found) - len(right),
    }


def by_kind(found: Pairs, planted: dict[str, str]) -> dict[str, str]:
    hit = {b for a, b in found if a == b.split("~")[0]}
    total, right = Counter(planted.values()), Counter(kind for copy, kind in planted.items() if copy in hit)
    return {kind: f"{right[kind]} of {count}" for kind, count in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", type=Path, help="folder of radiographs without copies; by default phantoms are drawn"
    )
    parser.add_argument("--phantoms", type=int, default=1200, help="how many are drawn where no source is given")
    parser.add_argument("--phantom-seed", type=int, default=900, help="700 was used to choose thresholds")
    parser.add_argument("--half", choices=("choose", "judge"), default="judge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="take no more sources than this")
    parser.add_argument("--rotations", action="store_true", help="plant the kinds that are rotations alone")
    parser.add_argument("--alone", action="store_true", help="judge edge-audit alone")
    parser.add_argument(
        "--imagededup-python", metavar="PYTHON", help="a Python that has imagededup, if this one has not"
    )
    parser.add_argument("--weights", type=Path, help="MobileNetV2's of ImageNet, without top: for imagededup's CNN")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    kinds = rotation_kinds() if options.rotations else rotation_kinds() | other_kinds()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as drawn:
        folder = Path(name)
        (folder / "normal").mkdir()
        (folder / "fractured").mkdir()
        # Phantoms need no halves: what was chosen on them was chosen on another seed.
        half = options.half if options.source else None
        source = options.source or draw_phantoms(Path(drawn), options.phantoms, options.phantom_seed)
        planted = plant(source, folder, half, options.seed, options.limit, kinds)
        print(f"{len(planted)} sources, one copy each, {len(set(planted.values()))} kinds")
        others = [] if options.alone else other_finders(options.imagededup_python, options.weights)
        methods = [("edge-audit", find_with_audit), *others]
        for title, find in methods:
            start, start_cpu = time.perf_counter(), sum(os.times()[:4])
            found = find(folder)
            spent = {"seconds": time.perf_counter() - start, "CPU seconds": sum(os.times()[:4]) - start_cpu}
            figures[title] = judge(found, planted) | spent
            print(title, {key: round(value, 4) for key, value in figures[title].items()}, flush=True)
            if title == "edge-audit":
                figures["edge-audit by kind"] = by_kind(found, planted)
                print("\n".join(f"  {kind:36} {count}" for kind, count in by_kind(found, planted).items()))
                print("  wrong:", sorted(pair for pair in found if pair[0][:5] != pair[1][:5])[:20])
    if options.out:
        options.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
