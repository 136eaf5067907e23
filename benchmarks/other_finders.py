"""What people use to find copies, on the same files as the audit: imagehash, and imagededup's hash and CNN methods."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime.images import find_images

Pairs = set[tuple[str, str]]  # (stem, stem) of files said to be copies
Finder = Callable[[Path], Pairs]

PAIRS_SCRIPT = Path(__file__).with_name("imagededup_pairs.py")
CNN_LIKENESS = 0.9  # imagededup's default
_CNN_RESIZED, _CNN_SIDE = 256, 224  # pixels: what imagededup's own networks are given
_BATCH = 64


def other_finders(imagededup_python: str | None, weights: Path | None) -> Iterable[tuple[str, Finder]]:
    """(title, finder) of each tool that is there; what is not is said on standard error.

    Args:
        imagededup_python: a Python that has imagededup; None: this one, if it has it.
        weights: of MobileNetV2 without top, ImageNet's, for the CNN method; None: that is left out.
    """
    for bits in (0, 8):
        yield f"imagehash phash, {bits} bits", lambda folder, bits=bits: find_with_imagehash(folder, bits)
    python = imagededup_python or sys.executable
    if subprocess.run([python, "-c", "import imagededup"], capture_output=True).returncode:  # noqa: S603
        print(
            f"imagededup is NOT installed for {python}: its rows are missing. See --imagededup-python", file=sys.stderr
        )
        return
    for bits in (0, 10):  # 10: its default
        yield (
            f"imagededup PHash, {bits} bits",
            lambda folder, bits=bits: find_with_imagededup_hash(python, folder, bits),
        )
    if weights is None:
        print("imagededup's CNN is NOT run: it needs ImageNet weights. See --weights", file=sys.stderr)
        return
    yield (
        f"imagededup CNN, MobileNetV2, {CNN_LIKENESS}",
        lambda folder: find_with_imagededup_cnn(python, folder, weights),
    )


def find_with_imagehash(folder: Path, most_bits: int) -> Pairs:
    """Pairs whose perceptual hashes differ in few bits."""
    import imagehash

    paths = find_images([folder])
    hashes = np.stack([imagehash.phash(Image.open(path)).hash.ravel() for path in paths])
    pairs = set()
    for row, one in enumerate(hashes):
        near = np.flatnonzero((hashes[row + 1 :] != one).sum(1) <= most_bits) + row + 1
        pairs |= {tuple(sorted((paths[row].stem, paths[other].stem))) for other in near.tolist()}
    return pairs


def find_with_imagededup_hash(python: str, folder: Path, most_bits: int) -> Pairs:
    """Pairs by imagededup's perceptual hash."""
    with tempfile.TemporaryDirectory() as flat:
        for path in find_images([folder]):
            shutil.copyfile(path, Path(flat) / path.name)
        return _run(python, flat, "phash", str(most_bits))


def find_with_imagededup_cnn(python: str, folder: Path, weights: Path) -> Pairs:
    """Pairs by imagededup's CNN method, on encodings by MobileNetV2: a network of one's own is an option of it.

    Its default, MobileNetV3, has the same training and downloads its weights, so it could not be run everywhere.
    """
    with tempfile.TemporaryDirectory() as kept:
        encodings = Path(kept) / "encodings.npz"
        paths = find_images([folder])
        np.savez(encodings, names=[path.name for path in paths], encodings=_encode(paths, weights))
        return _run(python, kept, "cnn", str(CNN_LIKENESS), "--encodings", str(encodings))


def _encode(paths: list[Path], weights: Path) -> np.ndarray:
    """float32 (n, 1280): what MobileNetV2 pools of each image, seen as imagededup shows it to its own network."""
    import keras

    from train.networks.mobilenetv2 import build_mobilenetv2

    whole = build_mobilenetv2(_CNN_SIDE, weights=str(weights))
    encoder = keras.Model(whole.input, whole.get_layer("pool").output)
    batches = (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))
    return np.concatenate(
        [np.asarray(encoder(np.stack([_read(path) for path in batch]), training=False)) for batch in batches]
    )


def _read(path: Path) -> np.ndarray:
    """float32 (224, 224, 3), 0 to 1: resized to 256 x 256 and cropped in the middle."""
    image = Image.open(path).convert("RGB").resize((_CNN_RESIZED, _CNN_RESIZED), Image.Resampling.BILINEAR)
    margin = (_CNN_RESIZED - _CNN_SIDE) // 2
    return np.asarray(image.crop((margin, margin, margin + _CNN_SIDE, margin + _CNN_SIDE)), np.float32) / 255


def _run(python: str, *arguments: str) -> Pairs:
    command = [python, str(PAIRS_SCRIPT), *arguments]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
    return {tuple(sorted((Path(a).stem, Path(b).stem))) for a, b in json.loads(printed)}
