"""Flat functional networks as graphs: walked, and rebuilt with other layers in place of some.

The only file that touches what Keras keeps private of its graph (`_inbound_nodes`, `_outbound_nodes`,
`_keras_history`, `_nodes_by_depth`): where an update of Keras moves these, it is mended here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from edge_runtime.errors import ModelError

Tensor = Any  # of Keras, symbolic, or of the backend
Inputs = list[Tensor]
Make = Callable[[layers.Layer, Inputs], Tensor]  # (layer, its inputs) -> what stands in place of its output


def layers_in_order(model: keras.Model) -> list[layers.Layer]:
    """The layers of a network, each behind those that it reads."""
    return list(model.operations)


def rebuild(model: keras.Model, make: Make) -> keras.Model:
    """A new functional network in which each layer is replaced by what `make` puts in its place.

    Raises:
        ModelError: the network is nested, has an operation that is no layer, or uses a layer twice.
    """
    for layer in layers_in_order(model):
        if isinstance(layer, keras.Model) or not isinstance(layer, layers.Layer) or len(layer._inbound_nodes) != 1:
            raise ModelError(
                f"{model.name}: layer {layer.name} is nested, used twice or no layer; a flat network is needed"
            )
    (entry,) = model.inputs
    start = keras.Input(entry.shape[1:], name=entry.name, dtype=entry.dtype)
    return keras.Model(start, run_layers(model, entry, start, make), name=model.name)


def run_layers(model: keras.Model, start: Tensor, value: Tensor, make: Make) -> Tensor:
    """The output of a flat network from one of its tensors on, each layer replaced by what `make` puts in its place.

    Of a network with several outputs, a list of them.

    Args:
        model: every layer is used once in it.
        start: symbolic tensor inside the network.
        value: what stands in place of it.
        make: given a layer and its inputs, gives its output.
    """
    tensors = {id(start): value}
    for layer in layers_in_order(model):
        read = tensors_read(layer)
        if read and all(id(tensor) in tensors for tensor in read):
            tensors[id(layer._inbound_nodes[0].output_tensors[0])] = make(layer, [tensors[id(one)] for one in read])
    outputs = [tensors[id(tensor)] for tensor in model.outputs]
    return outputs if len(outputs) > 1 else outputs[0]


def call(layer: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """The output of a layer: most take a tensor, those that join several take a list."""
    return layer(inputs if len(inputs) > 1 else inputs[0])


def again(layer: layers.Layer, inputs: Inputs) -> Tensor:
    """The output of a copy of a layer, with its weights."""
    copy = type(layer).from_config(layer.get_config())
    output = call(copy, inputs)
    copy.set_weights(layer.get_weights())
    return output


def followers(model: keras.Model) -> dict[str, list[layers.Layer]]:
    """The layers that read the output of each layer, by its name."""
    following: dict[str, list[layers.Layer]] = {layer.name: [] for layer in layers_in_order(model)}
    for layer in layers_in_order(model):
        for below in layers_below(layer):
            following[below.name].append(layer)
    return following


def tensors_read(layer: layers.Layer) -> Inputs:
    """The symbolic tensors that a layer reads; none of an input."""
    # Later nodes belong to networks made of the same layers.
    return [tensor for node in layer._inbound_nodes[:1] for tensor in node.input_tensors]


def layers_below(layer: layers.Layer) -> list[layers.Layer]:
    """The layers whose outputs a layer reads."""
    return [writer(tensor) for tensor in tensors_read(layer)]


def layers_above(layer: layers.Layer) -> list[layers.Layer]:
    """The layers that read the output of a layer, those of networks made of it among them."""
    return [node.operation for node in layer._outbound_nodes]


def writer(tensor: Tensor) -> layers.Layer:
    """The layer that writes a symbolic tensor."""
    return tensor._keras_history.operation


def answer_layer(model: keras.Model) -> layers.Layer:
    """The layer that gives the first output of a network: its probability."""
    return writer(model.outputs[0])


@dataclass(frozen=True)
class Call:
    """One call of a layer or an operation inside a functional network."""

    operation: Any  # layer, nested network, or operation of keras.ops
    outputs: Inputs  # symbolic tensors that it writes
    arguments: Callable[[dict[int, Any]], tuple[tuple[Any, ...], dict[str, Any]]]  # values by tensor id -> args, kwargs


def is_graph(model: keras.Model) -> bool:
    """Whether a network can be walked: functional, or sequential and built."""
    return hasattr(_graph(model), "_nodes_by_depth")


def calls(model: keras.Model) -> Iterator[Call]:
    """The calls inside a network that is a graph, in order of execution; a nested network is one call."""
    nodes_by_depth = _graph(model)._nodes_by_depth
    for depth in sorted(nodes_by_depth, reverse=True):
        for node in nodes_by_depth[depth]:
            if not node.is_input:
                yield Call(node.operation, node.output_tensors, node.arguments.fill_in)


def _graph(model: keras.Model) -> Any:
    """Where a network keeps its graph: a sequential one in a functional one inside."""
    return getattr(model, "_functional", None) or model
