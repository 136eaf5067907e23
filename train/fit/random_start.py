"""Networks of random values, made ready to learn from few images: less deep at first, and quick to settle."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers

from train.int8.keras_graph import layers_below, layers_in_order


def settle_quickly(network: keras.Model) -> None:
    """Lets running statistics follow random weights within an epoch; Keras' momenta are made for ImageNet's length."""
    for layer in layers_in_order(network):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9


def start_shallow(network: keras.Model) -> None:
    """Makes every residual block of random values the identity: the scale of its last normalisation becomes 0.

    The trace of a thin line is lost on the way through many random layers, and whether training ever leaves chance is
    then luck. Source: arXiv:1706.02677. Blocks that do not end with a normalisation are left alone, and so are sums of
    two that read the same: neither is the other's input.
    """
    order = {layer.name: number for number, layer in enumerate(layers_in_order(network))}
    for layer in layers_in_order(network):
        if not isinstance(layer, layers.Add):
            continue
        before, last = sorted(layers_below(layer), key=lambda summand: order[summand.name])
        if not _descends(last, before, order):
            continue
        if isinstance(last, layers.Dropout):
            (last,) = layers_below(last)
        if isinstance(last, layers.BatchNormalization) and last.scale:
            last.gamma.assign(keras.ops.zeros_like(last.gamma))


def _descends(layer: layers.Layer, ancestor: layers.Layer, order: Mapping[str, int]) -> bool:
    """Whether a layer reads, directly or not, what another one made, in a network whose layers stand in an order."""
    if order[layer.name] <= order[ancestor.name]:
        return layer is ancestor
    return any(_descends(read, ancestor, order) for read in layers_below(layer))
