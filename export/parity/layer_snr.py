"""Where rounding enters: each tensor of an int8 file beside the same tensor of the float file, as signal to noise.

Recipes may scale the channels of a tensor, undone where they are read. So each channel is compared after the factor
that brings both closest: what is told is noise, not scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from export.convert.formats import FORMATS
from export.convert.formats.model_format import TensorGraph

_LARGEST_DB = 120.0  # told of a tensor without any noise


@dataclass(frozen=True)
class LayerNoise:
    """One tensor of an int8 file against the float file's."""

    operator: str  # that writes it
    tensor: str  # its name in the int8 file
    snr_db: float  # power of the float tensor over that of what rounding changed, decibels
    fall_db: float  # by how much it is below that of the tensor before; 0 of the first


def layer_noise(float_file: Path, int8_file: Path, images_u8: NDArray[np.uint8]) -> list[LayerNoise]:
    """The signal-to-noise ratio of each tensor that both files have, in order of execution.

    Args:
        float_file: `.tflite` or `.onnx`.
        int8_file: of the same network and format.
        images_u8: (n, S, S), over all of which power is summed.

    Raises:
        ModelError: the files share no operators.
    """
    exact, rounded = (FORMATS[path.suffix].show(path) for path in (float_file, int8_file))
    pairs = _pairs(exact, rounded)
    if not pairs:
        raise ModelError(f"{int8_file}: has no operator in common with {float_file.name}")
    sums = [np.zeros((3, exact.operators[one][2][exact.channel_axis])) for one, _ in pairs]
    for image_u8 in images_u8:
        of_exact, of_rounded = exact.read(image_u8), rounded.read(image_u8)
        for total, (one, other) in zip(sums, pairs, strict=True):
            total += _powers(of_exact[one], of_rounded[other], exact.channel_axis)
    ratios = [_decibels(total) for total in sums]
    before = [ratios[0], *ratios]
    return [
        LayerNoise(rounded.operators[other][0], rounded.operators[other][1], ratio, before[row] - ratio)
        for row, ((_, other), ratio) in enumerate(zip(pairs, ratios, strict=True))
    ]


def _pairs(exact: TensorGraph, rounded: TensorGraph) -> list[tuple[int, int]]:
    """Operators of both files in the same order, of the same type and shape: folding left some out of one of them.

    A tensor of the int8 file may hold each channel several times.
    """
    axis = exact.channel_axis
    exact_keys, rounded_keys = (
        [(kind, _without(shape, axis)) for kind, _, shape in graph.operators] for graph in (exact, rounded)
    )
    blocks = SequenceMatcher(None, exact_keys, rounded_keys, autojunk=False).get_matching_blocks()
    pairs = [(block.a + step, block.b + step) for block in blocks for step in range(block.size)]
    shapes = ((exact.operators[one][2], rounded.operators[other][2]) for one, other in pairs)
    return [pair for pair, (one, other) in zip(pairs, shapes, strict=True) if other[axis] % one[axis] == 0]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape without one of its axes."""
    place = axis % len(shape)
    return (*shape[:place], *shape[place + 1 :])


def _powers(exact: NDArray[np.float32], rounded: NDArray[np.float32], channel_axis: int) -> NDArray[np.float64]:
    """(3, channels): sums of exact², exact · rounded and rounded²."""
    x, y = (np.moveaxis(values, channel_axis, -1).astype(np.float64) for values in (exact, rounded))
    channels = x.shape[-1]
    # Copies of the channels stand one set behind the other; what is read of them is their mean.
    x, y = x.reshape(-1, channels), y.reshape(len(y), -1, y.shape[-1] // channels, channels).mean(axis=2)
    y = y.reshape(-1, channels)
    return np.stack([(x * x).sum(axis=0), (x * y).sum(axis=0), (y * y).sum(axis=0)])


def _decibels(sums: NDArray[np.float64]) -> float:
    """The ratio over all channels, each after its best factor."""
    of_exact, of_both, of_rounded = sums
    alike = np.where(of_both > 0.0, of_both, 1.0)
    # |exact - rounded / factor|² with factor = both / exact²; a channel that rounding silenced is noise altogether.
    noise = np.where(of_both > 0.0, of_exact * np.maximum(of_exact * of_rounded / alike**2 - 1.0, 0.0), of_exact)
    if not noise.sum() > 0.0:
        return _LARGEST_DB
    return min(_LARGEST_DB, float(10.0 * np.log10(max(of_exact.sum(), 1e-30) / noise.sum())))


def steepest(noise: list[LayerNoise], count: int) -> list[LayerNoise]:
    """The tensors at which the ratio falls most, steepest first."""
    return sorted(noise, key=lambda one: -one.fall_db)[:count]
