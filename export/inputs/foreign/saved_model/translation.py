"""A flat graph as a network of Keras' layers, operation by operation; one that is not known is refused by name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from export.inputs.foreign.layer_names import LayerNames
from export.inputs.foreign.saved_model.exact_graph import ExactGraph
from export.inputs.foreign.saved_model.flat_graph import ENTRY
from export.inputs.foreign.saved_model.operations import LAYERS, Operation, Unknown, no_layer
from export.inputs.foreign.saved_model.raw_operation import CALCULATING, raw_operation
from export.inputs.foreign.saved_model.tensor_names import full, node_of, tensors_of
from export.inputs.foreign.saved_model.values import Value

_MOST_TOLD = 4  # kinds of operations
_ADVICE = "which no layer is known for; give the model itself: model.save('NAME.keras')"
_AROUND = ("Const", "Placeholder", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
# What constants are calculated with, each of its inputs alone: nothing random, and nothing that reads files.
_OF_CONSTANTS = (
    *("Shape", "ShapeN", "Size", "Rank", "Pack", "Range", "Fill", "Tile", "BroadcastTo", "ZerosLike", "OnesLike"),
    *("Transpose", "GatherV2", "Slice", "Rsqrt", "Sqrt", "Square", "Reciprocal", "Neg", "Abs", "Exp", "Log", "Pow"),
    *("Minimum", "Sum", "Prod", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Less", "LessEqual", "Equal"),
    *("NotEqual", "LogicalAnd", "LogicalOr", "Select", "SelectV2"),
)


def require_known(graph: Any) -> None:
    """Refuses a flat graph with an operation that is not known here, before anything of it is calculated.

    Raises:
        ModelError: it has such operations; some of them are told, with the layer that they were part of.
    """
    first = {node.op: node.name for node in reversed(graph.node)}
    unknown = [kind for kind in first if kind not in (*LAYERS, *_AROUND, *_OF_CONSTANTS, *CALCULATING)]
    if unknown:
        told = ", ".join(f"{kind} ({_short(first[kind])!r})" for kind in sorted(unknown)[:_MOST_TOLD])
        more = f" and {len(unknown) - _MOST_TOLD} more" if len(unknown) > _MOST_TOLD else ""
        raise ModelError(f"a SavedModel with {told}{more}, {_ADVICE}")


def translated(exact: ExactGraph, name: str) -> keras.Model:
    """The network of a graph, in float32.

    Args:
        exact: the graph, of known operations.
        name: of the network.

    Raises:
        ModelError: an operation is called in a way that no layer is known for.
    """
    return _Translation(exact).network(name)


class _Translation:
    """One translation: values by the name of their tensor in the graph, and the names that are taken."""

    def __init__(self, exact: ExactGraph) -> None:
        self._exact = exact
        self._node_of = {node.name: node for node in exact.in_order}
        self._read = Counter(full(one) for node in exact.in_order for one in tensors_of(node))
        self._read[full(exact.answer)] += 1
        constants = {full(one) for node in exact.in_order for one in tensors_of(node) if exact.is_constant(one)}
        self._constants = exact.constants(sorted(constants))
        self._values: dict[str, Value] = {}
        self._names = LayerNames("image")

    def network(self, name: str) -> keras.Model:
        """The network."""
        image = keras.Input(self._exact.image_shape, name="image", dtype="float32")
        self._values[f"{ENTRY}:0"] = Value(image)
        for node in self._exact.in_order:
            made = self._made(node)
            for place, value in enumerate(made if isinstance(made, list) else [made]):
                self._values[f"{node.name}:{place}"] = value
        answer = self._values[full(self._exact.answer)].tensor(self._new("answer"))
        return keras.Model(image, answer, name=name)

    def _made(self, node: Any) -> Value | list[Value]:
        """What an operation writes: by the layer that is known for it, else as it is."""
        operation = self._operation(node)
        try:
            return LAYERS.get(node.op, no_layer)(operation)
        except Unknown as why:
            try:
                return raw_operation(operation)
            except Unknown:
                raise ModelError(f"a SavedModel with {node.op} ({_short(node.name)!r}) {why}, {_ADVICE}") from why

    def _operation(self, node: Any) -> Operation:
        inputs: list[Value | NDArray[Any]] = []
        for name in map(full, tensors_of(node)):
            if name in self._constants:
                inputs.append(self._constants[name])
                continue
            if self._read[name] > 1:  # what others read as well stays as it is
                self._values[name] = self._values[name].apart(self._new(name))
            inputs.append(self._values[name])
        shape = self._exact.shape_of(node.name)
        return Operation(node, inputs, shape, self._new(node.name), self._writer, self._constant)

    def _writer(self, tensor: str) -> Any:
        return self._node_of.get(node_of(tensor))

    def _constant(self, name: str) -> NDArray[Any] | None:
        return self._constants.get(full(name))

    def _new(self, node: str) -> Any:
        """A function that makes a layer, named after an operation."""

        def new(kind: Any, *arguments: Any, **options: Any) -> Any:
            return kind(*arguments, **options, name=self._names.free(_short(node)), dtype="float32")

        return new


def _short(node: str) -> str:
    """The name of the layer that an operation was part of, as far as the graph tells it."""
    parts = [part for part in node_of(node).split("/") if "PartitionedCall" not in part] or ["operation"]
    return parts[-2] if len(parts) > 1 else parts[0]
