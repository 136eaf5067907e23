"""The graph that answers, flat: functions in place of their calls, variables as constants from the checkpoint.

Only what the answer depends on is kept, so that counters of random layers, and what saves and restores, fall away. The
files are read and nothing of them is executed: a SavedModel may hold operations that read and write other files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2
from tensorflow.core.protobuf import trackable_object_graph_pb2
from tensorflow.python.framework import op_def_registry

from edge_runtime.errors import ModelError
from export.inputs.foreign.saved_model.signature import Signature
from export.inputs.foreign.saved_model.tensor_names import node_of, tensors_of

ENTRY = "image_of_signature"  # node that stands for the image

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSING = ("Identity", "IdentityN", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape")
_MOST_NODES = 50_000  # of the flat graph: functions that call one another may be many times what the file holds
_NOTES = "_"  # attributes that begin so are notes of who made the graph
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"  # entry of a checkpoint


class _Variable:
    """Stands for the handle of a variable.

    Args:
        number: of the object in the SavedModel.
    """

    def __init__(self, number: int) -> None:
        self.number = number


def flat_graph(folder: Path, signature: Signature) -> tuple[graph_pb2.GraphDef, str]:
    """(the graph, name of the tensor that is its answer).

    Args:
        folder: of the SavedModel.
        signature: of it.

    Raises:
        ModelError: its functions or variables are not those that it names, or it changes variables while it answers.
    """
    flattening = _Flattening(folder, signature)
    answer = flattening.answer()
    return flattening.graph, answer


class _Flattening:
    """One flattening: the graph as far as it is made."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        self.graph = graph_pb2.GraphDef(versions=signature.meta_graph.graph_def.versions)
        self._signature, self._objects = signature, signature.meta_graph.object_graph_def
        self._functions = {one.signature.name: one for one in signature.meta_graph.graph_def.library.function}
        self._variables = _Variables(folder, self._objects)
        self._read: dict[int, str] = {}  # tensor of each variable that is read

    def answer(self) -> str:
        """Name of the tensor that is the answer; with it the graph is made."""
        nodes = {node.name: node for node in self._signature.meta_graph.graph_def.node}
        self._add(node_def_pb2.NodeDef(name=ENTRY, op="Placeholder"), dtype=tf.float32)
        (answer,) = self._run(nodes, {self._signature.entry: [f"{ENTRY}:0"]}, [self._signature.answer], "", True)
        return str(answer)

    def _run(
        self, nodes: Mapping[str, Any], known: dict[str, Any], wanted: list[str], prefix: str, is_main: bool = False
    ) -> list[Any]:
        """The values of some tensors of a graph: names of tensors of the flat one, or variables.

        Args:
            nodes: of the graph by name.
            known: outputs of nodes that are known: a list, or the name of the flat node that has them.
            wanted: names of tensors.
            prefix: of the names in the flat graph.
            is_main: it is the graph of the SavedModel rather than a function.
        """
        for node in _in_order(nodes, wanted, set(known)):
            read = [_value(known, name) for name in tensors_of(node)]
            if node.op in _CALLS:
                known[node.name] = self._call(node, read, f"{prefix}{node.name}/", is_main)
            elif node.op in _PASSING:
                known[node.name] = read
            elif node.op == "ReadVariableOp" and isinstance(read[0], _Variable):
                known[node.name] = [self._constant(read[0].number)]
            elif any(isinstance(one, _Variable) for one in read):
                raise ModelError(
                    f"operation {node.op} ({node.name!r}) changes variables, or reads more than their value"
                )
            elif node.op in ("VarHandleOp", "VariableV2", "VarIsInitializedOp"):
                known[node.name] = [None]
            else:
                known[node.name] = self._copy(node, read, f"{prefix}{node.name}")
        return [_value(known, name) for name in wanted]

    def _call(self, node: Any, read: list[Any], prefix: str, is_main: bool) -> list[Any]:
        name = node.attr["f"].func.name
        if name not in self._functions:
            raise ModelError(f"function {name!r} is missing: the SavedModel is damaged")
        if is_main and name in self._objects.concrete_functions:
            bound = list(self._objects.concrete_functions[name].bound_inputs)
            given = len(read) - len(bound)
            read = read[:given] + [self._bound(number, read[given + at]) for at, number in enumerate(bound)]
            changed = self._assigned(name, read)
        else:
            changed = set()
        function = self._functions[name]
        nodes, returned = _body(function)
        known: dict[str, Any] = {
            argument.name: [value] for argument, value in zip(function.signature.input_arg, read, strict=True)
        }
        found = self._run(nodes, known, returned, prefix)
        if changed & set(self._read):
            named = self._objects.nodes[min(changed & set(self._read))].variable.name
            raise ModelError(
                f"changes what its answer depends on while it answers ({named!r}), as in training; model.export does "
                "so where a layer of augmentation is inside: give the model itself: model.save('NAME.keras')"
            )
        return found

    def _bound(self, number: int, given: Any) -> Any:
        return _Variable(number) if self._objects.nodes[number].WhichOneof("kind") == "variable" else given

    def _assigned(self, name: str, read: list[Any]) -> set[int]:
        """Numbers of the variables that a function changes, whatever depends on it."""
        function, found = self._functions[name], set()
        given = {argument.name: value for argument, value in zip(function.signature.input_arg, read, strict=True)}
        for node in function.node_def:
            arguments = [given.get(one) for one in tensors_of(node)]
            if node.op in _CALLS and node.attr["f"].func.name in self._functions:
                found |= self._assigned(node.attr["f"].func.name, arguments)
            elif "Assign" in node.op or node.op.startswith(("ResourceApply", "ResourceScatter")):
                found |= {one.number for one in arguments if isinstance(one, _Variable)}
        return found

    def _constant(self, number: int) -> str:
        if number not in self._read:
            name, value = f"variable_{number}", self._variables.value(number)
            self._add(node_def_pb2.NodeDef(name=name, op="Const"), dtype=tf.as_dtype(value.dtype), value=value)
            self._read[number] = f"{name}:0"
        return self._read[number]

    def _copy(self, node: Any, read: list[str], name: str) -> str:
        if len(self.graph.node) >= _MOST_NODES:
            raise ModelError(f"more than {_MOST_NODES} operations: no network of the size that a device runs")
        copy = node_def_pb2.NodeDef(name=name, op=node.op, input=read)
        for key, value in node.attr.items():
            if not key.startswith(_NOTES):
                copy.attr[key].CopyFrom(value)
        self.graph.node.append(copy)
        return name

    def _add(self, node: Any, dtype: Any, value: Any = None) -> None:
        node.attr["dtype"].type = dtype.as_datatype_enum
        if value is not None:
            node.attr["value"].CopyFrom(attr_value_pb2.AttrValue(tensor=tf.make_tensor_proto(value, dtype)))
        self.graph.node.append(node)


class _Variables:
    """The variables of a SavedModel, read from its checkpoint when they are asked for."""

    def __init__(self, folder: Path, objects: Any) -> None:
        self._folder, self._objects = folder, objects
        self._reader: Any = None
        self._keys: dict[int, str] = {}

    def value(self, number: int) -> Any:
        """What the variable of this number holds.

        Raises:
            ModelError: the checkpoint is damaged, or does not hold it.
        """
        try:
            if self._reader is None:
                self._reader = tf.train.load_checkpoint(str(self._folder / "variables" / "variables"))
                self._keys = self._found_keys()
            return np.asarray(self._reader.get_tensor(self._keys[number]))
        except (tf.errors.OpError, KeyError, ValueError, RuntimeError) as error:
            name = self._objects.nodes[number].variable.name
            raise ModelError(f"variable {name!r} cannot be read from its checkpoint: it is damaged") from error

    def _found_keys(self) -> dict[int, str]:
        """Keys of the checkpoint by object: both tell their objects by the way from the first one."""
        stored = trackable_object_graph_pb2.TrackableObjectGraph.FromString(self._reader.get_tensor(_OBJECTS))
        keys, seen, waiting = {}, {0}, [(0, 0)]
        while waiting:
            number, there = waiting.pop()
            for attribute in stored.nodes[there].attributes:
                keys[number] = attribute.checkpoint_key
            ways = {child.local_name: child.node_id for child in stored.nodes[there].children}
            for child in self._objects.nodes[number].children:
                if child.local_name in ways and child.node_id not in seen:
                    seen.add(child.node_id)
                    waiting.append((child.node_id, ways[child.local_name]))
        return keys


def _body(function: Any) -> tuple[dict[str, Any], list[str]]:
    """The nodes of a function by name and the tensors that it returns, tensors named as those of graphs are.

    Inside functions a tensor is `node:output:number`, and an argument stands without a number.
    """
    names = {argument.name: f"{argument.name}:0" for argument in function.signature.input_arg}
    for node in function.node_def:
        definition, place = op_def_registry.get(node.op), 0
        for output in definition.output_arg if definition is not None else ():
            for number in range(_count(output, node)):
                names[f"{node.name}:{output.name}:{number}"] = f"{node.name}:{place}"
                place += 1
    nodes = {}
    for node in function.node_def:
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        nodes[node.name] = copy
    returned = [function.ret[output.name] for output in function.signature.output_arg]
    return nodes, [names.get(name, name) for name in returned]


def _count(output: Any, node: Any) -> int:
    """How many tensors an output of an operation is."""
    if output.number_attr:
        return int(node.attr[output.number_attr].i)
    return len(node.attr[output.type_list_attr].list.type) if output.type_list_attr else 1


def _in_order(nodes: Mapping[str, Any], wanted: list[str], known: set[str]) -> Iterator[Any]:
    """The nodes that some tensors depend on, each behind those that it reads; control of execution is left out."""
    done, begun = set(known), set[str]()
    waiting = [(node_of(name), False) for name in reversed(wanted)]
    while waiting:
        name, is_ready = waiting.pop()
        if name in done:
            continue
        if name not in nodes:
            raise ModelError(f"node {name!r} is missing: the SavedModel is damaged")
        if is_ready:
            done.add(name)
            yield nodes[name]
            continue
        if name in begun:
            raise ModelError(f"node {name!r} depends on itself: a loop, which is none of the layers of Keras")
        begun.add(name)
        waiting.append((name, True))
        below = [node_of(one) for one in tensors_of(nodes[name])]
        waiting += [(one, False) for one in below if one not in done]


def _value(known: Mapping[str, Any], tensor: str) -> Any:
    name, _, place = tensor.partition(":")
    outputs = known[name]
    return f"{outputs}:{place or 0}" if isinstance(outputs, str) else outputs[int(place or 0)]
