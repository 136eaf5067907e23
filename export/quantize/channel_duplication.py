"""Finer steps for chosen tensors of an int8 file: each channel kept several times, rounded at staggered places.

An int8 tensor has 256 steps. Where a channel stands in it twice, once rounded after a quarter of a step was added and
once after a quarter was taken off, the mean of both moves in half steps: q(x - s/4) + q(x + s/4) has every multiple of
s/2 as its mean, and zero behind a ReLU stays zero. K copies divide the step by K, and the variance of rounding by K².
Layers that read the copies take 1/K of their kernel from each, whose integers are the same, since each output channel
has a scale of its own. So every operator stays int8 throughout, and the price is in operations: that is why only those
tensors are copied whose rounding costs the answer most (see sensitivity.py). The idea of splitting channels is that
of Zhao et al. 2019 (arXiv:1901.09504), who split outliers; of staggering, that of dither in converters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from export.convert.complexity import operations_of_layer
from train.int8.keras_graph import Inputs, again, followers, layers_below, layers_in_order, rebuild, writer
from train.int8.layer_kinds import WEIGHTED

MOST_COPIES = 8  # of a tensor

# Layers that keep channels apart and in place: what they write has as many copies as what they read.
_KEEPING = (
    layers.ReLU,
    layers.DepthwiseConv2D,
    layers.ZeroPadding2D,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.Dropout,
)
# Activations below which a shift of the bias is a shift of the output, but where they end.
_SHIFTABLE = (keras.activations.linear, keras.activations.relu, keras.activations.relu6)


@dataclass
class _Tied:
    """Layers whose outputs must have the same number of copies."""

    names: list[str] = field(default_factory=list)  # of the layers
    can_be_copied: bool = True


def choose_copies(
    network: keras.Model, variances: Mapping[str, float], most_operations: float, most_weights: float
) -> dict[str, int]:
    """The number of copies of the output of each layer, where it is more than one.

    Copies are doubled one group of tied layers at a time: that which takes most of the variance for its operations.

    Args:
        network: folded (see train.int8.batchnorm_folding).
        variances: what rounding each tensor adds to the variance of the answer, by the name of the layer that ends it.
        most_operations: of the network with its copies, for one image.
        most_weights: of the network with its copies.
    """
    groups = [group for group in _tied_layers(network) if group.can_be_copied]
    noise = [sum(variances.get(name, 0.0) for name in group.names) for group in groups]
    copies = {name: 1 for group in groups for name in group.names}
    costs = costs_with(network, copies)
    open_groups = [number for number, variance in enumerate(noise) if variance > 0.0]
    while open_groups:
        gains = {}
        for number in open_groups:
            now = copies[groups[number].names[0]]
            tried = copies | dict.fromkeys(groups[number].names, 2 * now)
            cost = costs_with(network, tried)
            if cost[0] <= most_operations and cost[1] <= most_weights and 2 * now <= MOST_COPIES:
                gains[number] = noise[number] / now**2 / max(cost[0] - costs[0], 1), tried, cost
        if not gains:
            break
        best = max(gains, key=lambda number: gains[number][0])
        _, copies, costs = gains[best]
        open_groups = list(gains)
    return {name: count for name, count in copies.items() if count > 1}


def costs_with(network: keras.Model, copies: Mapping[str, int]) -> tuple[int, int]:
    """(multiplications with addition for one image, weights) with copies of the outputs of layers, by name."""
    operations = weights = 0
    for layer in layers_in_order(network):
        if isinstance(layer, WEIGHTED):
            times = copies.get(layer.name, 1)
            if not isinstance(layer, layers.DepthwiseConv2D):
                times *= copies.get(_below(layer), 1)
            operations += times * operations_of_layer(layer)
            weights += times * int(np.prod(layer.kernel.shape))
    return operations, weights


def with_copies(network: keras.Model, copies: Mapping[str, int], steps: Mapping[str, float]) -> keras.Model:
    """The network with copied channels, each set of copies behind the other; in float it answers as before.

    Args:
        network: folded.
        copies: of the output of each layer, by name; those of tied layers agree, as `choose_copies` gives them.
        steps: of int8 in each tensor, by the name of the layer that ends it.
    """
    following = followers(network)

    def step_behind(layer: layers.Layer) -> float:
        """The step by which the output of a layer will be rounded, maybe behind its ReLU."""
        return steps[layer.name] if layer.name in steps else step_behind(following[layer.name][0])

    def make(layer: layers.Layer, inputs: Inputs) -> keras.KerasTensor:
        times = copies.get(layer.name, 1)
        times_below = copies.get(_below(layer), 1) if isinstance(layer, WEIGHTED) else 1
        if times == times_below == 1 or not isinstance(layer, WEIGHTED):
            return again(layer, inputs)
        kernel, *biases = (np.asarray(weights, np.float64) for weights in layer.get_weights())
        bias = biases[0] if biases else np.zeros(layer.output.shape[-1])
        shifts = shifts_of(times) * step_behind(layer) if times > 1 else np.zeros(1)
        new = type(layer).from_config(_widened(layer, times))
        output = new(inputs[0])
        new.set_weights([_copied_kernel(layer, kernel, times_below, times), (bias + shifts[:, np.newaxis]).ravel()])
        return output

    return rebuild(network, make)


def shifts_of(times: int) -> NDArray[np.float64]:
    """(times,), in steps: evenly apart within one step, their mean zero."""
    return (np.arange(times) + 0.5) / times - 0.5


def _widened(layer: layers.Layer, times: int) -> dict[str, object]:
    settings = {**layer.get_config(), "use_bias": True}
    for name in ("filters", "units"):
        if name in settings and not isinstance(layer, layers.DepthwiseConv2D):
            settings[name] *= times
    return settings


def _copied_kernel(
    layer: layers.Layer, kernel: NDArray[np.float64], times_below: int, times: int
) -> NDArray[np.float64]:
    if isinstance(layer, layers.DepthwiseConv2D):
        return np.tile(kernel, (1, 1, times, 1))
    return np.tile(kernel, (*[1] * (kernel.ndim - 2), times_below, times)) / times_below


def _tied_layers(network: keras.Model) -> list[_Tied]:
    group_of: dict[str, _Tied] = {}
    for layer in layers_in_order(network):
        below = [group_of[one.name] for one in layers_below(layer)]
        if isinstance(layer, layers.Add) or (isinstance(layer, _KEEPING) and _keeps_channels(layer)):
            group = below[0]
            for other in below[1:]:
                _join(group, other, group_of)
        else:
            group = _Tied(can_be_copied=_mixes_channels(layer) and layer.activation in _SHIFTABLE)
            if not _mixes_channels(layer):
                for one in below:  # what reads it cannot read copies
                    one.can_be_copied = False
        group.names.append(layer.name)
        group_of[layer.name] = group
    for tensor in network.outputs:
        group_of[writer(tensor).name].can_be_copied = False
    return list({id(group): group for group in group_of.values()}.values())


def _mixes_channels(layer: layers.Layer) -> bool:
    """Whether every output of a layer reads every channel."""
    return isinstance(layer, layers.Dense) or (isinstance(layer, layers.Conv2D) and layer.groups == 1)


def _keeps_channels(layer: layers.Layer) -> bool:
    """Whether a depthwise convolution gives each channel once, below an activation that a shift passes."""
    if not isinstance(layer, layers.DepthwiseConv2D):
        return True
    return layer.depth_multiplier == 1 and layer.activation in _SHIFTABLE


def _join(group: _Tied, other: _Tied, group_of: dict[str, _Tied]) -> None:
    if other is group:
        return
    group.names += other.names
    group.can_be_copied = group.can_be_copied and other.can_be_copied
    group_of.update(dict.fromkeys(other.names, group))


def _below(layer: layers.Layer) -> str:
    """The name of the layer whose output a weighted layer reads."""
    return str(layers_below(layer)[0].name)
