"""How often the depth of a 16-bit image is found that declares none, beside the rule of its brightest pixel.

    python -m benchmarks.grey_depth FOLDER... [--images 500] [--seed 0]

Radiographs of 8 bits are stretched to 10, 12, 14 and 16 with the noise of a detector, and a few pixels of each get what
is brighter than its white: one stuck pixel, one of a thousand, a side marker of 0.8 % of the image. DICOM files count
with their stored values as they are, against BitsStored.
"""

import argparse
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.depth import DEPTHS, find_depth
from edge_runtime.errors import ImageError
from edge_runtime.images import find_images, is_dicom_file, read_grey

NOISE = 1 / 500  # of white, standard deviation
MARKER_SHARE = 0.008
BITS = DEPTHS[1:]
LEAST_SIDE = 256  # pixels: a share of the pixels is the same at any size


def stretched(grey_u8: NDArray[np.uint8], bits: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """uint16 of the same shape, as a detector of so many bits would have seen it."""
    white = (1 << bits) - 1
    values = grey_u8 / 255 * white + rng.normal(0, NOISE * white, grey_u8.shape)
    return np.clip(np.rint(values), 0, white).astype(np.uint16)


def spoilt(values: NDArray[np.uint16], how: str, rng: np.random.Generator) -> NDArray[np.uint16]:
    """A copy with some pixels at 65,535."""
    changed = values.copy()
    if how == "a marker":
        side = int((MARKER_SHARE * values.size) ** 0.5)
        changed[4 : 4 + side, 4 : 4 + side] = 65_535
    else:
        count = {"as it is": 0, "one stuck pixel": 1, "one of a thousand": values.size // 1000}[how]
        changed.ravel()[rng.choice(values.size, count, replace=False)] = 65_535
    return changed


def by_brightest(values: NDArray[np.uint16]) -> int:
    """The rule that one pixel can move."""
    return next(bits for bits in DEPTHS if int(values.max()) < 1 << bits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=500, help="of each folder")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, wrong, simple, tried = np.random.default_rng(options.seed), {}, {}, 0
    for folder in options.folders:
        paths = find_images([folder])
        for path in random.Random(options.seed).sample(paths, min(options.images, len(paths))):
            if is_dicom_file(str(path)):
                show_dicom(path)
                continue
            try:
                grey_u8 = read_grey(path, LEAST_SIDE)
            except ImageError:
                continue
            tried += 1
            for bits in BITS:
                values = stretched(grey_u8, bits, rng)
                for how in ("as it is", "one stuck pixel", "one of a thousand", "a marker"):
                    changed = spoilt(values, how, rng)
                    wrong[bits, how] = wrong.get((bits, how), 0) + (find_depth(changed).bits != bits)
                    simple[bits, how] = simple.get((bits, how), 0) + (by_brightest(changed) != bits)
    print(f"{tried} radiographs; wrong depth by 99 % of the pixels (by the brightest pixel)")
    for bits, how in wrong:
        print(f"{bits:2} bits, {how:<18} {wrong[bits, how]:4} ({simple[bits, how]})")


def show_dicom(path: Path) -> None:
    """Prints what the rule says of the stored values of a DICOM file."""
    from pydicom import dcmread

    ds = dcmread(path)
    values = ds.pixel_array.astype(np.int64)
    if int(ds.PixelRepresentation) or values.min() < 0:
        return
    found, declared = find_depth(values).bits, int(ds.BitsStored)
    print(f"{path.name}: BitsStored {declared}, largest value {values.max()}, found {found}")


if __name__ == "__main__":
    main()
