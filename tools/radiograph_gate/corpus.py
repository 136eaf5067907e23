"""Which images choose the gate and which judge it: by source, and radiographs by group; neither knows the other."""

from __future__ import annotations

import csv
import hashlib
import random
import re
from dataclasses import dataclass
from pathlib import Path

from train.audit import group_images, take_inventory

SOURCES = Path(__file__).with_name("sources.csv")
TRAIN, JUDGE = "train", "judge"
FRACATLAS, MULTIREGION = "fracatlas", "multiregion"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp"})
_LEAST_BYTES = 700  # less is a line or a dot
_BLOCK = 50  # neighbouring numbers of FracAtlas may show one patient
_EVERY = 5  # one group of so many judges


@dataclass(frozen=True)
class Image:
    """One file."""

    path: Path
    kind: str  # `photograph`, `icon`, ..., or the data set of a radiograph
    group: str  # source of what is no radiograph; independent radiograph, or block of numbers
    role: str  # TRAIN or JUDGE


def find_others(root: Path, role: str) -> list[Image]:
    """What is no radiograph, of the sources with this role that are there; the same in every call."""
    found = []
    for source in csv.DictReader(SOURCES.read_text().splitlines()):
        if source["role"] == role:
            paths = _different(root / source["folder"], source["kind"] == "icon")[: int(source["most"])]
            found += [Image(path, source["kind"], source["folder"], role) for path in paths]
    return found


def _different(folder: Path, by_name: bool) -> list[Path]:
    """The images below a folder, shuffled, each once: icons and wallpapers come in many sizes."""
    firsts: dict[str, Path] = {}
    files = [path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
    for path in sorted(files, key=lambda path: (-path.stat().st_size, path)):
        if not path.is_symlink() and path.stat().st_size > _LEAST_BYTES:
            name = re.sub(r"[-_@]?\d+x\d+", "", path.name.lower())
            firsts.setdefault(name if by_name else hashlib.sha256(path.read_bytes()).hexdigest(), path)
    paths = list(firsts.values())
    random.Random(0).shuffle(paths)
    return paths


def find_radiographs(data: Path, role: str) -> list[Image]:
    """The radiographs with this role, each different picture once."""
    images = []
    for name in (MULTIREGION, FRACATLAS):
        inventory = take_inventory(data / name)
        groups = group_images(inventory).tolist() if name == MULTIREGION else None
        seen: set[str] = set()
        for number, record in enumerate(inventory.records):
            group = groups[number] if groups else int(re.sub(r"\D", "", Path(record.path).name)) // _BLOCK
            if record.pixels_sha256 not in seen and (role == JUDGE) == (group % _EVERY == 0):
                seen.add(record.pixels_sha256)
                images.append(Image(data / name / record.path, name, f"{name} {group}", role))
    return images
