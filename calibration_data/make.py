"""Makes the embedded calibration images and their manifest again, exactly: ``python calibration_data/make.py``.

The seed is the calibration set's own: no demo, golden image or test is drawn from it.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.insert(0, str(HOME.parent))  # so that it runs from a checkout without installation

from PIL import Image  # noqa: E402

from train.phantom import draw  # noqa: E402

SEED = 20_261_122
COUNT = 200  # half of them fractured
COLUMNS = ("path", "sha256", "label", "seed", "index")


def write_calibration_images(folder: Path) -> Path:
    """Return the manifest, newly written to ``folder`` with the images it lists.

    Args:
        folder: Where ``images/`` and ``manifest.csv`` go; files of the same name are replaced.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = sorted(write_image(folder, index) for index in range(COUNT))
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return manifest


def write_image(folder: Path, index: int) -> tuple[str, str, int, int, int]:
    """Return the manifest's row of one image, newly written below ``folder``."""
    phantom = draw(SEED, index)
    path = folder / "images" / f"phantom_{index:05d}.png"
    Image.fromarray(phantom.image_u8).save(path, compress_level=9)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.relative_to(folder).as_posix(), sha256, phantom.label, SEED, index


if __name__ == "__main__":
    print(write_calibration_images(HOME))
