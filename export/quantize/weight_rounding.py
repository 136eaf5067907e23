"""Rounds a network's weights layer by layer, so that each layer answers to rounded inputs as it did to exact ones.

Each weighted layer sees some calibration images twice: x as the trained network gives it, and x' as the network gives
it whose earlier layers are rounded already. Its integers are then chosen to keep |W x - W' x'|^2 small, which is a
quadratic form in the weights with the second moments of x' as its matrix: no gradient is followed, no label read. That
is the layerwise form of learned rounding (Nagel et al. 2020, arXiv:2004.10568), solved by steps of one integer at a
time (as in Frantar et al. 2022, arXiv:2210.17323), with the bias taking up what is left in the mean (Nagel et al. 2019,
arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from train.int8.batchnorm_folding import same_border
from train.int8.grid import LARGEST_INTEGER, integers_around_zero, range_scale, round_to_grid, to_integers, weight_scale
from train.int8.keras_graph import call, followers, layers_in_order, tensors_read
from train.int8.layer_kinds import WEIGHTED
from train.int8.range_rules import least_squares_range

_BATCH = 16  # images
_ROWS = 30_000  # positions of a layer's input that its moments are taken from
_VALUES = 40_000_000  # numbers of a layer's input that are looked at, at most
_RIDGE = 1e-3  # of the mean variance, added to all: directions that the images hardly show keep their weights
_SWEEPS = 4  # over all weights of a channel
_TINY = 1e-9  # width of a range that has none
_LARGEST_MATRIX = 4096  # inputs of a channel beyond which only the nearest integers are affordable


@dataclass(frozen=True)
class Moments:
    """How what a layer reads varies, for C independent sets of K inputs; C is 1 but for depthwise convolutions."""

    rounded: NDArray[np.float64]  # (C, K, K): covariance of the rounded inputs
    cross: NDArray[np.float64]  # (C, K, K): covariance of the rounded with the exact inputs


# (weights (C, K, O), moments; None where they are too many) -> weights on the grid of the same shape
ChooseIntegers = Callable[[NDArray[np.float64], Moments | None], NDArray[np.float64]]


def reconstruct(network: keras.Model, images: NDArray[np.float32], choose: ChooseIntegers) -> None:
    """Puts the weights of every layer on the int8 grid and corrects its bias, in place.

    Args:
        network: folded (see train.int8.batchnorm_folding).
        images: (n, S, S, 1), 0 to 1; a few dozen, all in memory at once.
        choose: how integers are chosen.
    """
    following = followers(network)
    exact = {id(network.inputs[0]): images}
    rounded = dict(exact)
    unread = {id(layer.output): len(following[layer.name]) for layer in layers_in_order(network)}
    for layer in layers_in_order(network):
        if isinstance(layer, layers.InputLayer):
            continue
        read = tensors_read(layer)
        of_exact, of_rounded = [exact[id(tensor)] for tensor in read], [rounded[id(tensor)] for tensor in read]
        output = _run(layer, of_exact)
        if isinstance(layer, WEIGHTED):
            _round_layer(layer, of_exact[0], of_rounded[0], choose)
        answer = _run(layer, of_rounded)
        if not any(isinstance(follower, layers.ReLU) for follower in following[layer.name]):
            answer = _as_int8(answer, output)
        exact[id(layer.output)], rounded[id(layer.output)] = output, answer
        for tensor in read:
            unread[id(tensor)] -= 1
            if unread[id(tensor)] == 0:
                del exact[id(tensor)], rounded[id(tensor)]


def nearest_integers(weights: NDArray[np.float64], moments: Moments | None) -> NDArray[np.float64]:
    """The nearest integers of each output channel."""
    return round_to_grid(weights, _scale(weights))


def learned_integers(weights: NDArray[np.float64], moments: Moments | None) -> NDArray[np.float64]:
    """The integers that answer best to rounded inputs, found by changing one weight at a time."""
    if moments is None:
        return nearest_integers(weights, moments)
    size = weights.shape[1]
    variance = np.trace(moments.rounded, axis1=1, axis2=2)[:, None, None] / size
    # Sets of inputs that never change have no variance of their own; theirs comes from the others.
    ridge = _RIDGE * np.maximum(variance, max(variance.mean(), 1e-6)) * np.eye(size)
    matrix = moments.rounded + ridge
    wanted = np.linalg.solve(matrix, (moments.cross + ridge) @ weights)
    scale = _scale(wanted)
    integers = to_integers(wanted, scale)
    # The largest weight of each channel keeps its 127: converters read the scale off it.
    pinned = np.abs(integers) == LARGEST_INTEGER
    slope = matrix @ (integers * scale - wanted)
    for _ in range(_SWEEPS):
        for row in range(size):
            step = np.round(-slope[:, row] / (matrix[:, row, row, None] * scale[:, 0]))
            found = np.clip(integers[:, row] + step, -LARGEST_INTEGER, LARGEST_INTEGER)
            change = np.where(pinned[:, row], 0.0, found - integers[:, row])
            integers[:, row] += change
            slope += matrix[:, :, row, None] * (change * scale[:, 0])[:, None, :]
    return integers * scale


def _scale(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, 1, O), the step of each output channel."""
    return weight_scale(weights, axes=(1,))


def _round_layer(
    layer: layers.Layer, exact: NDArray[np.float32], rounded: NDArray[np.float32], choose: ChooseIntegers
) -> None:
    kernel, bias = (np.asarray(values, np.float64) for values in layer.get_weights())
    weights = _grouped(layer, kernel)
    features = _feature_reader(layer, exact.shape)
    of_exact, of_rounded = features(exact), features(rounded)
    means = of_exact.mean(axis=1), of_rounded.mean(axis=1)
    moments = None
    if weights.shape[1] <= _LARGEST_MATRIX:
        moments = Moments(*_covariances(of_exact - means[0][:, None], of_rounded - means[1][:, None]))
    found = choose(weights, moments)
    shift = np.einsum("ck,cko->co", means[0], weights) - np.einsum("ck,cko->co", means[1], found)
    layer.set_weights([_ungrouped(layer, found, kernel.shape), bias + shift.ravel()])


def _covariances(
    exact: NDArray[np.float32], rounded: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    transposed = rounded.transpose(0, 2, 1)
    count = exact.shape[1]
    return (transposed @ rounded).astype(np.float64) / count, (transposed @ exact).astype(np.float64) / count


def _grouped(layer: layers.Layer, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel as (C, K, O): independent sets, inputs, outputs."""
    if isinstance(layer, layers.DepthwiseConv2D):
        height, width, channels, multiplier = kernel.shape
        return kernel.reshape(height * width, channels, multiplier).transpose(1, 0, 2)
    return kernel.reshape(1, -1, kernel.shape[-1])


def _ungrouped(layer: layers.Layer, weights: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    return (weights.transpose(1, 0, 2) if isinstance(layer, layers.DepthwiseConv2D) else weights).reshape(shape)


def _feature_reader(layer: layers.Layer, shape: tuple[int, ...]) -> Callable[[NDArray[np.float32]], Any]:
    """A function from a layer's input (n, ...) to (C, rows, K), the same rows each time."""
    if isinstance(layer, layers.Dense):
        return lambda values: values.reshape(1, -1, values.shape[-1])
    border = same_border(layer) if layer.padding == "same" else ((0, 0), (0, 0))
    (height, width), (down, right) = layer.kernel_size, layer.strides
    rows_high = (shape[1] + sum(border[0]) - height) // down + 1
    rows_wide = (shape[2] + sum(border[1]) - width) // right + 1
    count = min(_ROWS, shape[0] * rows_high * rows_wide, _VALUES // (height * width * shape[3]))
    rng = np.random.default_rng(0)
    image, top, left = (rng.integers(0, limit, count) for limit in (shape[0], rows_high, rows_wide))
    depthwise = isinstance(layer, layers.DepthwiseConv2D)

    def read(values: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.pad(values, ((0, 0), *border, (0, 0)))
        patches = [padded[image, top * down + y, left * right + x] for y in range(height) for x in range(width)]
        stacked = np.stack(patches, axis=1)  # (rows, height * width, channels)
        return stacked.transpose(2, 0, 1) if depthwise else stacked.reshape(1, count, -1)

    return read


def _run(layer: layers.Layer, inputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    batches = []
    for row in range(0, len(inputs[0]), _BATCH):
        batch = [values[row : row + _BATCH] for values in inputs]
        batches.append(np.asarray(call(layer, batch)))
    return np.concatenate(batches)


def _as_int8(values: NDArray[np.float32], exact: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values rounded as int8 would hold them, with the range that suits the exact ones."""
    lowest, highest = least_squares_range(exact)
    scale = range_scale(lowest, max(highest, lowest + _TINY))
    return round_to_grid(values, scale, integers_around_zero(lowest, scale)).astype(np.float32)
