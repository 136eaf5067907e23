"""Chains of operators in an `.onnx` graph as the one operator that they amount to, and what no version has as others.

tf2onnx translates one operator at a time; ONNX Runtime's quantiser would round between those of a chain.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Writers = dict[str, NodeProto]  # the node that writes each tensor, by its name


def write_erfc_by_erf(model: onnx.ModelProto) -> None:
    """Writes erfc(x), which exact GELU has and the standard does not, as 1 - erf(x), in place."""
    nodes, one = [], None
    for node in model.graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        if one is None:
            one = helper.make_tensor("erfc_one", TensorProto.FLOAT, [], [1.0])
            model.graph.initializer.append(one)
        erf = f"{node.output[0]}_erf"
        nodes.append(helper.make_node("Erf", [node.input[0]], [erf], name=f"{node.name}_erf"))
        nodes.append(helper.make_node("Sub", [one.name, erf], [node.output[0]], name=node.name))
    put_nodes(model.graph, nodes)


def write_prelu(model: onnx.ModelProto) -> None:
    """Writes relu(x) + c * relu(-x), as TensorFlow has a PReLU, as PRelu with the slope -c, in place."""
    graph = model.graph
    writers: Writers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        found = _prelu(node, writers, constants)
        if found is None:
            nodes.append(node)
            continue
        values, factor = found
        slope = numpy_helper.from_array(-numpy_helper.to_array(factor), f"{node.output[0]}_slope")
        graph.initializer.append(slope)
        nodes.append(helper.make_node("PRelu", [values, slope.name], [node.output[0]], name=node.name))
    put_nodes(graph, _still_read(graph, nodes))
    _keep_constants(graph)


def write_nearest(model: onnx.ModelProto) -> None:
    """Writes the nearest pixel as TensorFlow takes it, in place, in words that are not out of date.

    floor((i + 1/2) / k) is what rounding (i + 1/2) / k - 1/2 gives, halves upwards.
    """
    for node in model.graph.node:
        settings = {attribute.name: attribute for attribute in node.attribute}
        mode = settings.get("coordinate_transformation_mode")
        if node.op_type == "Resize" and mode is not None and mode.s == b"tf_half_pixel_for_nn":
            mode.s, settings["nearest_mode"].s = b"half_pixel", b"round_prefer_ceil"


def _prelu(node: NodeProto, writers: Writers, constants: dict[str, TensorProto]) -> tuple[str, TensorProto] | None:
    """The x and the c of a sum that is relu(x) + c * relu(-x); None of any other node."""
    if node.op_type != "Add":
        return None
    for positive, negative in (node.input, reversed(node.input)):
        relu, product = writers.get(positive), writers.get(negative)
        if relu is None or product is None or (relu.op_type, product.op_type) != ("Relu", "Mul"):
            continue
        for below_zero, factor in (product.input, reversed(product.input)):
            other = writers.get(below_zero)
            negation = writers.get(other.input[0]) if other is not None and other.op_type == "Relu" else None
            if negation is None or negation.op_type != "Neg" or factor not in constants:
                continue
            if negation.input[0] == relu.input[0]:
                return relu.input[0], constants[factor]
    return None


def _still_read(graph: onnx.GraphProto, nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes, in order, without those whose outputs nothing reads any more."""
    read, kept = {output.name for output in graph.output}, []
    for node in reversed(nodes):
        if read & set(node.output):
            read.update(node.input)
            kept.append(node)
    return kept[::-1]


def put_nodes(graph: onnx.GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Makes these the nodes of a graph; they may be its own."""
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]  # before the list that owns them goes
    del graph.node[:]
    graph.node.extend(kept)


def _keep_constants(graph: onnx.GraphProto) -> None:
    """Leaves out the constants and the shapes of tensors that are gone."""
    read = {name for node in graph.node for name in node.input}
    written = {name for node in graph.node for name in node.output}
    for entries, names in ((graph.initializer, read), (graph.value_info, read | written)):
        kept = [entry for entry in entries if entry.name in names]
        del entries[:]
        entries.extend(kept)
