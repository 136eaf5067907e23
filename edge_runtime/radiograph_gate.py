"""Is this a radiograph at all? A photograph, a page or noise has a probability of a fracture too, and no answer.

Asked of pixels alone, so that it serves every network: is it a speck or a strip; has it colours, as no radiograph has;
and does a network of 82,000 weights (`radiograph_gate.npz`, made by `tools.radiograph_gate`) take its grey for one.
Both limits are chosen on images whose sources are not those of the images that judged them: docs/clinic.md.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

SIDE = 128  # pixels: what the network sees, stretched to a square
LEAST_SIDE = 32  # pixels; the smallest of 13,000 radiographs has 100
LONGEST_SHAPE = 10  # times as long as wide; the longest of them is 2.8
LEAST_SPREAD = 8  # grey levels between the percentiles below; less is an empty image
MOST_COLOUR = 10.0  # levels of Cb and Cr; a tint, one colour for all pixels, has none of it
LEAST_SCORE = -0.25  # logit of the network
_PERCENTILES = (1, 99)
_FINE = 4 * SIDE  # pixels: a larger image is first thinned out, so that the time does not grow with it
_STRIDE = 2
_ONE_THREAD = 4 * 65_536  # multiplications: OpenBLAS uses more threads for a larger product
WEIGHTS = Path(__file__).with_name("radiograph_gate.npz")


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says of one image."""

    is_radiograph: bool
    reason: str  # why not; empty for a radiograph
    score: float  # logit of the network: above LEAST_SCORE for radiographs


def look(grey_u8: NDArray[np.uint8], chroma_u8: NDArray[np.uint8] | None = None) -> GateVerdict:
    """Whether an image is a radiograph.

    Args:
        grey_u8: (H, W), as decoded.
        chroma_u8: (h, w, 2), Cb and Cr of the same image at any size; None where it is grey.
    """
    if odd := _odd_shape(*grey_u8.shape):
        return GateVerdict(False, odd, -np.inf)
    image_u8 = _reduced(grey_u8)
    low, high = np.percentile(image_u8, _PERCENTILES)
    if high - low < LEAST_SPREAD:
        return GateVerdict(False, "not a radiograph: all pixels have nearly the same value", -np.inf)
    score = _score(image_u8)
    if chroma_u8 is not None and colour_spread(chroma_u8) > MOST_COLOUR:
        return GateVerdict(False, "not a radiograph: it has colours", score)
    if score < LEAST_SCORE:
        return GateVerdict(False, "not a radiograph: it does not look like one", score)
    return GateVerdict(True, "", score)


def _odd_shape(height: int, width: int) -> str:
    """Why no radiograph has this shape; empty where one may have."""
    short, long = sorted((height, width))
    if short < LEAST_SIDE:
        return f"not a radiograph: only {width} x {height} pixels"
    return f"not a radiograph: {width} x {height} pixels are too long a strip" if long > LONGEST_SHAPE * short else ""


def colour_spread(chroma_u8: NDArray[np.uint8]) -> float:
    """By how many levels the colours of pixels (h, w, 2) differ from their mean, root mean square."""
    chroma = chroma_u8.reshape(-1, 2).astype(np.float32)
    return float(np.sqrt(np.square(chroma - chroma.mean(axis=0)).sum(axis=1).mean()))


def _reduced(grey_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (SIDE, SIDE)."""
    rows, columns = (max(1, side // _FINE) for side in grey_u8.shape)
    thinned = np.ascontiguousarray(grey_u8[::rows, ::columns])
    return np.asarray(Image.fromarray(thinned).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _score(image_u8: NDArray[np.uint8]) -> float:
    """Logit of the network for a uint8 (SIDE, SIDE) image."""
    weights = _weights()
    values = (image_u8.astype(np.float32) / 127.5 - 1.0)[..., None]
    for kernel, bias in weights.convolutions:
        values = np.maximum(_convolve(values, kernel) + bias, 0.0)
    pooled = np.concatenate([values.mean(axis=(0, 1)), values.max(axis=(0, 1))])
    hidden = np.maximum(pooled @ weights.hidden[0] + weights.hidden[1], 0.0)
    return float(hidden @ weights.output[0] + weights.output[1])


def _convolve(values: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, c) with a kernel (k, k, c, d): (h', w', d), without padding."""
    size, _, channels, filters = kernel.shape
    windows = sliding_window_view(values, (size, size), axis=(0, 1))[::_STRIDE, ::_STRIDE]  # (h', w', c, k, k)
    rows, columns = windows.shape[:2]
    flat = windows.transpose(0, 1, 3, 4, 2).reshape(rows * columns, -1)
    matrix = kernel.reshape(size * size * channels, filters)
    # In pieces too small for numpy to share out among threads, which wait for each other longer than they compute.
    step = max(1, _ONE_THREAD // matrix.size)
    pieces = [flat[start : start + step] @ matrix for start in range(0, len(flat), step)]
    return np.concatenate(pieces).reshape(rows, columns, filters)


@dataclass(frozen=True)
class _Weights:
    """Of the network, as float32."""

    convolutions: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]  # (kernel (3, 3, c, d), bias (d,))
    hidden: tuple[NDArray[np.float32], NDArray[np.float32]]  # ((2 d, n), (n,))
    output: tuple[NDArray[np.float32], float]  # ((n,), 1)


@functools.cache
def _weights() -> _Weights:
    """From the file: int8 with a scale for each output channel."""
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        layers = [
            (stored[f"kernel_{n}"].astype(np.float32) * stored[f"scale_{n}"], stored[f"bias_{n}"].astype(np.float32))
            for n in range(sum(name.startswith("kernel_") for name in stored.files))
        ]
    *convolutions, hidden, (kernel, bias) = layers
    return _Weights(tuple(convolutions), hidden, (kernel[:, 0], float(bias[0])))
