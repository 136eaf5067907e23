"""Flat functional networks as graphs: walked, and rebuilt with other layers in place of some."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from edge_runtime.errors import ModelError

Inputs = list[keras.KerasTensor]
Make = Callable[[layers.Layer, Inputs], keras.KerasTensor]  # (layer, its inputs) -> what stands in its place


def rebuild(model: keras.Model, make: Make) -> keras.Model:
    """A new functional network in which each layer is replaced by what `make` puts in its place.

    Raises:
        ModelError: the network is nested, has an operation that is no layer, or uses a layer twice.
    """
    (entry,) = model.inputs
    start = keras.Input(entry.shape[1:], name=entry.name, dtype=entry.dtype)
    tensors = {id(entry): start}
    for layer in model.operations:
        if isinstance(layer, layers.InputLayer):
            continue
        if isinstance(layer, keras.Model) or not isinstance(layer, layers.Layer) or len(layer._inbound_nodes) != 1:
            raise ModelError(
                f"{model.name}: layer {layer.name} is nested, used twice or no layer; a flat network is needed"
            )
        (node,) = layer._inbound_nodes
        tensors[id(node.output_tensors[0])] = make(layer, [tensors[id(tensor)] for tensor in node.input_tensors])
    return keras.Model(start, [tensors[id(tensor)] for tensor in model.outputs], name=model.name)


def again(layer: layers.Layer, inputs: Inputs) -> keras.KerasTensor:
    """The output of a copy of a layer, with its weights."""
    copy = type(layer).from_config(layer.get_config())
    output = copy(inputs if len(inputs) > 1 else inputs[0])
    copy.set_weights(layer.get_weights())
    return output


def followers(model: keras.Model) -> dict[str, list[layers.Layer]]:
    """The layers that read the output of each layer, by its name."""
    following: dict[str, list[layers.Layer]] = {layer.name: [] for layer in model.operations}
    for layer in model.operations:
        for below in layers_below(layer):
            following[below.name].append(layer)
    return following


def layers_below(layer: layers.Layer) -> list[layers.Layer]:
    """The layers whose outputs a layer reads."""
    # Later nodes belong to networks made of the same layers.
    nodes = layer._inbound_nodes[:1]
    return [tensor._keras_history.operation for node in nodes for tensor in node.input_tensors]
