"""Names inside an `.onnx` graph that depend on the graph alone.

tf2onnx numbers what it makes up and shares equal constants in an order that changes from one conversion to the next.
With settled names the same network gives the same bytes, and a tensor can be found by the layer that made it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import onnx

_MADE_UP = re.compile(r"(__\d+)?(:\d+)?$")  # `Conv__236:0` is output 0 of the 236th thing that had no name


def settle_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with tensors named after their layers and constants after their first use, changed in place."""
    graph = model.graph
    renamed = {value.name: value.name for value in (*graph.input, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = []
    for node in graph.node:
        for output in node.output:
            renamed.setdefault(output, _unused(_MADE_UP.sub("", output), renamed))
        node.name = renamed[node.output[0]]
        for slot, name in enumerate(node.input):
            if name in constants and name not in renamed:
                renamed[name] = _unused(f"{node.name}/input_{slot}", renamed)
                used.append(constants[name])
    _rename(graph, renamed, used)
    graph.doc_string = ""  # a number that TensorFlow gave the traced function
    return model


def _rename(graph: onnx.GraphProto, renamed: dict[str, str], used: list[onnx.TensorProto]) -> None:
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    shapes = sorted((value for value in graph.value_info if value.name in renamed), key=lambda one: renamed[one.name])
    for one in (*used, *shapes):
        one.name = renamed[one.name]
    _replace(graph.initializer, used)
    _replace(graph.value_info, shapes)


def _replace(field: Any, messages: Sequence[Any]) -> None:
    """Replaces the content of a repeated protobuf field; the messages may be its own, hence the copies."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)


def _unused(name: str, renamed: dict[str, str]) -> str:
    taken, number, candidate = set(renamed.values()), 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
