"""Channels that fill the range which int8 gives their tensor, before anything is learnt from them.

One scale serves all channels of a tensor, so a channel of small values keeps few of the 256 steps. Scaling it up where
it is written and down where it is read leaves the network's answer as it is (Nagel et al. 2019, arXiv:1906.04721):
exactly so between layers without activation, tied over additions; and below a ReLU6 up to where the channel was seen
to reach, beyond which it now ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from train.int8.keras_graph import layers_below, layers_in_order
from train.int8.layer_kinds import MOVING, is_rounded

LARGEST_GAIN = 16.0  # of a channel: one that hardly speaks is not blown up to noise

_BATCH = 16  # images
_WRITERS = (layers.BatchNormalization, layers.Conv2D, layers.DepthwiseConv2D)


@dataclass
class _Tied:
    """Tensors whose channels must keep one scale, because additions join them."""

    written_by: list[layers.Layer] = field(default_factory=list)  # normalisation, or convolution with a bias
    read_by: list[layers.Layer] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the layers whose outputs are in it
    limit: float | None = None  # where a ReLU ends; None without one
    movable: bool = True  # everything that writes or reads it can be scaled


def equalise(model: keras.Model, images: NDArray[np.float32]) -> None:
    """Scales the channels of a network in place, so that each fills the range of its tensor.

    Args:
        model: flat; its convolutions are followed by batch normalisation in inference mode, or have a bias instead.
        images: (n, S, S, channels), 0 to 1, from which the range of each channel is measured.
    """
    groups = [group for group in _tied_tensors(model) if group.movable]
    if not groups:
        return
    reach = _reach(model, [name for group in groups for name in group.names], images)
    for group in groups:
        reached = np.max([reach[name] for name in group.names], axis=0)
        gain = np.minimum((group.limit or reached.max()) / np.maximum(reached, 1e-6), LARGEST_GAIN)
        for layer in group.written_by:
            _scale_output(layer, gain)
        for layer in group.read_by:
            kernel, *bias = layer.get_weights()
            layer.set_weights([kernel / np.expand_dims(gain, -1), *bias])


def _scale_output(layer: layers.Layer, gain: NDArray[np.float64]) -> None:
    """Multiplies what a layer writes, channel by channel."""
    if isinstance(layer, layers.BatchNormalization):
        gamma, beta, *statistics = layer.get_weights()
        layer.set_weights([gamma * gain, beta * gain, *statistics])
        return
    kernel, bias = layer.get_weights()
    by_output = gain.reshape(kernel.shape[-2:]) if isinstance(layer, layers.DepthwiseConv2D) else gain
    layer.set_weights([kernel * by_output, bias * gain])


def _tied_tensors(model: keras.Model) -> list[_Tied]:
    """The tensors that int8 rounds, joined by additions."""
    group_of: dict[str, _Tied] = {}  # by the name of the layer that writes or moves a tensor
    groups: list[_Tied] = []
    for layer in layers_in_order(model):
        inputs = [group_of[below.name] for below in layers_below(layer) if below.name in group_of]
        if isinstance(layer, layers.Add) and inputs:
            group = _joined(inputs, groups, group_of)
            group.names.append(layer.name)
        elif isinstance(layer, layers.ZeroPadding2D) and inputs:
            group = inputs[0]
        else:
            for read in inputs:
                if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
                    read.read_by.append(layer)
                elif not _continues(layer):
                    read.movable = False
            if not is_rounded(layer) or isinstance(layer, MOVING):
                continue
            group = _new_group(layer)
            groups.append(group)
        group_of[layer.name] = group
    return groups


def _new_group(layer: layers.Layer) -> _Tied:
    writer, limit = layer, None
    if isinstance(layer, layers.ReLU):
        (below,) = layers_below(layer)
        writer, limit = below, layer.max_value
    can = isinstance(writer, _WRITERS) and (writer is layer or limit is not None)
    return _Tied([writer] if can else [], [], [layer.name], None if limit is None else float(limit), can)


def _joined(inputs: list[_Tied], groups: list[_Tied], group_of: dict[str, _Tied]) -> _Tied:
    """One group in place of several."""
    first = inputs[0]
    for other in inputs[1:]:
        if other is first:
            continue
        first.written_by += other.written_by
        first.read_by += other.read_by
        first.names += other.names
        first.movable = first.movable and other.movable and first.limit is None and other.limit is None
        groups.remove(other)
        group_of.update({name: first for name, group in group_of.items() if group is other})
    return first


def _continues(layer: layers.Layer) -> bool:
    """Whether a layer is part of writing the tensor, rather than a reader of it."""
    return isinstance(layer, (layers.BatchNormalization, layers.ReLU)) and not is_rounded(layer)


def _reach(model: keras.Model, names: list[str], images: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The largest magnitude of each channel of the outputs of layers."""
    largest = [ops.max(ops.abs(model.get_layer(name).output), axis=(0, 1, 2)) for name in names]
    measure = keras.Model(model.inputs[0], largest)
    batches = [measure.predict_on_batch(images[row : row + _BATCH]) for row in range(0, len(images), _BATCH)]
    return {
        name: np.max([np.asarray(batch[index], np.float64) for batch in batches], axis=0)
        for index, name in enumerate(names)
    }
