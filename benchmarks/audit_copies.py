"""How many planted copies edge-audit finds, and how many it makes up, beside imagehash and imagededup on the same.

    python -m benchmarks.audit_copies                                                 # on phantoms, drawn for this
    python -m benchmarks.audit_copies --source $EDGE_DATA/fracatlas --half judge

Thresholds were chosen on `--half choose`; `--half judge` holds the other images. Each source gets one copy of one
kind, so no copy is found through another. Sources with identical pixels are taken once; every link between two
different sources counts as false, and is listed to be looked at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.planted_copies import other_kinds, rotation_kinds
from edge_runtime.errors import EdgeError
from edge_runtime.images import find_images, read_grey
from train.audit import group_images, take_inventory
from train.audit.contents import hash_pixels, is_blank
from train.phantom import draw

# Images of FracAtlas that are copies of others in it, by number: re-taken or re-processed, confirmed by eye. They are
# no sources, since a link between them would be right.
COPIES_IN_FRACATLAS = frozenset(
    f"IMG{number.zfill(7)}"
    for number in (
        "164 204 237 240 436 1365 1382 1569 2027 2305 2306 2340 2518 "
        "3426 4061 4067 4068 4113 4117 4150 4187 4206 4209 4217 4232"
    ).split()
)

Pairs = set[tuple[str, str]]  # (stem, stem) of files said to be copies; a stem is `0012` or `0012~kind`


def plant(source: Path, folder: Path, half: str | None, seed: int, limit: int | None) -> dict[str, str]:
    """Writes sources and their copies, and returns the kind of each copy by its stem."""
    paths = find_images([source])
    np.random.default_rng(seed).shuffle(paths)
    if half is not None:
        paths = paths[: len(paths) // 2] if half == "choose" else paths[len(paths) // 2 :]
    kinds = rotation_kinds() | other_kinds()
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


def find_with_imagehash(folder: Path, most_bits: int) -> Pairs:
    import imagehash

    paths = find_images([folder])
    hashes = np.stack([imagehash.phash(Image.open(path)).hash.ravel() for path in paths])
    pairs = set()
    for row, one in enumerate(hashes):
        near = np.flatnonzero((hashes[row + 1 :] != one).sum(1) <= most_bits) + row + 1
        pairs |= {tuple(sorted((paths[row].stem, paths[other].stem))) for other in near.tolist()}
    return pairs


def find_with_imagededup(folder: Path) -> Pairs:
    from imagededup.methods import CNN

    flat = folder / "flat"
    flat.mkdir()
    for path in find_images([folder]):
        shutil.copyfile(path, flat / path.name)
    found = CNN().find_duplicates(image_dir=str(flat), min_similarity_threshold=0.9)
    shutil.rmtree(flat)
    return {tuple(sorted((Path(a).stem, Path(b).stem))) for a, others in found.items() for b in others}


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


def methods() -> Iterable[tuple[str, object]]:
    yield "edge-audit", find_with_audit
    yield "imagehash phash, 0 bits", lambda folder: find_with_imagehash(folder, 0)
    yield "imagehash phash, 8 bits", lambda folder: find_with_imagehash(folder, 8)
    try:
        import imagededup  # noqa: F401

        yield "imagededup CNN, 0.9", find_with_imagededup
    except ImportError:
        message = "imagededup is NOT installed (it needs torch): its rows are missing. pip install imagededup"
        print(message, file=sys.stderr)


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
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as drawn:
        folder = Path(name)
        (folder / "normal").mkdir()
        (folder / "fractured").mkdir()
        # Phantoms need no halves: what was chosen on them was chosen on another seed.
        half = options.half if options.source else None
        source = options.source or draw_phantoms(Path(drawn), options.phantoms, options.phantom_seed)
        planted = plant(source, folder, half, options.seed, options.limit)
        print(f"{len(planted)} sources, one copy each, {len(set(planted.values()))} kinds")
        for title, find in methods():
            start, start_cpu = time.perf_counter(), time.process_time()
            found = find(folder)
            spent = {"seconds": time.perf_counter() - start, "CPU seconds": time.process_time() - start_cpu}
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
