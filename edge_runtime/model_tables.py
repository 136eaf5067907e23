"""What a model file says of its own inputs and outputs, read from its tables before any engine sees it.

A `.tflite` is a FlatBuffer (schema.fbs of TensorFlow Lite), an `.onnx` a protobuf message (onnx.proto); of both only
the few fields on the way to the inputs and outputs are read, each within the bytes that there are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec, Tensor

# What struct and decoding raise on tables that lead astray; RecursionError is a RuntimeError.
_DAMAGE = (struct.error, StopIteration, LookupError, ValueError, OverflowError, RuntimeError)
_MOST_ENTRIES = 100_000  # of one table: no network has more, and a crafted count would keep us busy
_DEEPEST = 16  # graphs inside graphs

Shape = tuple[int | None, ...]  # None: not told


@dataclass
class ModelTables:
    """The ends of a network, each by name."""

    inputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)  # dtype, shape
    outputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)


def check_tables(model: memoryview, suffix: str, spec: ModelSpec, where: str) -> None:
    """Refuses a file that does not have the input and the outputs that its spec names.

    Args:
        model: the file without its embedded spec.
        suffix: `.tflite` or `.onnx`.
        spec: with the tensors of this file.
        where: the file, for messages.

    Raises:
        ModelError: they differ, there is no probability, weights lie in another file, or the tables are damaged.
    """
    if all(tensor.name != "probability" for tensor in spec.tensors[1:]):
        raise ModelError(f"{where}: its spec names no output `probability`; export it again")
    try:
        tables = _read_tflite(model) if suffix == ".tflite" else _read_onnx(model)
    except _DAMAGE as error:
        raise ModelError(f"{where}: not a {suffix} model: its tables are damaged ({error})") from error
    side = spec.size
    _check(tables.inputs, spec.input, (1, side, side, 1), where)
    for tensor in spec.tensors[1:]:
        _check(tables.outputs, tensor, (1,) if tensor.name == "probability" else None, where)


def _check(found: dict[str, tuple[str, Shape]], tensor: Tensor, shape: Shape | None, where: str) -> None:
    if tensor.name not in found:
        raise ModelError(f"{where}: has no tensor {tensor.name!r}, only {sorted(found)}; export it again")
    dtype, there = found[tensor.name]
    if dtype != tensor.dtype:
        raise ModelError(f"{where}: tensor {tensor.name!r} is {dtype}, its spec says {tensor.dtype}; export it again")
    if shape == (1,):
        there = tuple(size for size in there if size != 1) or (1,)  # one value, in however many brackets
    if shape is not None and (
        len(shape) != len(there) or any(b not in (None, a) for a, b in zip(shape, there, strict=True))
    ):
        raise ModelError(
            f"{where}: tensor {tensor.name!r} has the shape {list(there)}, its spec asks for {list(shape)}; "
            "export it again"
        )


# FlatBuffers: offsets are relative to where they stand, fields of a table are found through its vtable.

_TFLITE_TYPES = {0: "float32", 3: "uint8", 9: "int8"}
_TFLITE_MAGIC, _SIGNATURE = b"TFL3", b"serving_default"


def _read_tflite(model: memoryview) -> ModelTables:
    if model[4:8] != _TFLITE_MAGIC:
        raise ValueError("it does not begin as one")
    root = _number("<I", model, 0)
    graphs, signatures = _tables(model, root, 2), _tables(model, root, 7)
    for buffer in _tables(model, root, 4):  # weights may lie behind the tables, at an offset of 64 bits
        at, size = (_scalar("<Q", model, buffer, place, 0) for place in (1, 2))
        if at > 1 and at + size > len(model):
            raise ValueError("weights lie outside of the file")
    signature = next(table for table in signatures if _text(model, table, 2) == _SIGNATURE)
    graph = graphs[_scalar("<I", model, signature, 4, 0)]
    tensors = _tables(model, graph, 0)
    ends = ModelTables()
    for place, into in ((0, ends.inputs), (1, ends.outputs)):
        for entry in _tables(model, signature, place):
            into[_text(model, entry, 0).decode()] = _tflite_tensor(model, tensors[_scalar("<I", model, entry, 1, 0)])
    return ends


def _tflite_tensor(model: memoryview, tensor: int) -> tuple[str, Shape]:
    number = _scalar("<b", model, tensor, 1, 0)
    start, count = _vector(model, tensor, 0)
    return _TFLITE_TYPES.get(number, f"type {number}"), struct.unpack_from(f"<{count}i", model, start)


def _number(form: str, model: memoryview, at: int) -> int:
    if at < 0:
        raise ValueError("an offset leads out of the file")
    return int(struct.unpack_from(form, model, at)[0])


def _field(model: memoryview, table: int, place: int) -> int | None:
    """Where a field of a table stands; None where it has its default."""
    vtable = table - _number("<i", model, table)
    if 4 + 2 * place + 2 > _number("<H", model, vtable):
        return None
    offset = _number("<H", model, vtable + 4 + 2 * place)
    return table + offset if offset else None


def _scalar(form: str, model: memoryview, table: int, place: int, default: int) -> int:
    at = _field(model, table, place)
    return default if at is None else _number(form, model, at)


def _vector(model: memoryview, table: int, place: int) -> tuple[int, int]:
    """Start and number of the entries of a vector; none where there is no vector."""
    at = _field(model, table, place)
    if at is None:
        return 0, 0
    start = at + _number("<I", model, at)
    count = _number("<I", model, start)
    if count > len(model):
        raise ValueError("a table says that it is longer than the file")
    return start + 4, count


def _tables(model: memoryview, table: int, place: int) -> list[int]:
    start, count = _vector(model, table, place)
    if count > _MOST_ENTRIES:
        raise ValueError("a table has too many entries")
    return [at + _number("<I", model, at) for at in range(start, start + 4 * count, 4)]


def _text(model: memoryview, table: int, place: int) -> bytes:
    start, count = _vector(model, table, place)
    return bytes(model[start : start + count])


# Protocol buffers: a run of fields, each with its number and its kind.

_ONNX_TYPES = {1: "float32", 2: "uint8", 3: "int8"}
_MODEL_GRAPH, _MODEL_FUNCTION, _FUNCTION_NODE = 7, 25, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 13, 14


def _read_onnx(model: memoryview) -> ModelTables:
    ends = ModelTables()
    graphs = [body for number, body in _fields(model) if number == _MODEL_GRAPH]
    if len(graphs) != 1:
        raise ValueError("it has no graph, or more than one")
    for number, body in _fields(model):
        if number == _MODEL_FUNCTION:
            _refuse_external(_fields(_message(body)), _FUNCTION_NODE, 0)
    graph = _message(graphs[0])
    _refuse_external(_fields(graph), _GRAPH_NODE, 0)
    for number, body in _fields(graph):
        if number in (_GRAPH_INPUT, _GRAPH_OUTPUT):
            name, dtype, shape = _value_info(_message(body))
            (ends.inputs if number == _GRAPH_INPUT else ends.outputs)[name] = dtype, shape
    return ends


def _refuse_external(fields: Iterator[tuple[int, memoryview | int]], node_field: int, depth: int) -> None:
    """Refuses weights in another file: nobody compared that with a hash, and its path leads anywhere."""
    if depth > _DEEPEST:
        raise ValueError("graphs are nested too deeply")
    for number, body in fields:
        if number == node_field:
            for _, attribute in filter(lambda found: found[0] == _NODE_ATTRIBUTE, _fields(_message(body))):
                for place, inner in _fields(_message(attribute)):
                    if place in _ATTRIBUTE_GRAPHS:
                        _refuse_external(_fields(_message(inner)), _GRAPH_NODE, depth + 1)
                    elif place in (*_ATTRIBUTE_TENSORS, *_ATTRIBUTE_SPARSE):
                        _check_tensor(_message(inner), place in _ATTRIBUTE_SPARSE)
        elif node_field == _GRAPH_NODE and number in (_GRAPH_INITIALIZER, _GRAPH_SPARSE):
            _check_tensor(_message(body), number == _GRAPH_SPARSE)


def _check_tensor(tensor: memoryview, is_sparse: bool) -> None:
    for number, body in _fields(tensor):
        if is_sparse and number in (1, 2):  # its values and indices are tensors
            _check_tensor(_message(body), False)
        elif not is_sparse and (number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_LOCATION and body != 0)):
            raise ValueError("weights lie in another file (external data), which is not allowed")


def _value_info(body: memoryview) -> tuple[str, str, Shape]:
    name, kind = "", memoryview(b"")
    for number, value in _fields(body):
        if number == 1:
            name = bytes(_message(value)).decode()
        elif number == 2:
            kind = _message(value)
    tensor = _message(next(value for number, value in _fields(kind) if number == 1))
    elem, shape = 0, []
    for number, value in _fields(tensor):
        if number == 1 and isinstance(value, int):
            elem = value
        elif number == 2:
            shape = [_message(dim) for place, dim in _fields(_message(value)) if place == 1]
    return name, _ONNX_TYPES.get(elem, f"type {elem}"), tuple(map(_size, shape))


def _size(dim: memoryview) -> int | None:
    return next((value for number, value in _fields(dim) if number == 1 and isinstance(value, int)), None)


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message was expected")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of each field; bytes as a view, fixed numbers as 0."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(message):
            raise ValueError("a field says that it is longer than the file")
        yield key >> 3, message[at : at + length] if kind == 2 else 0
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:  # 64 bits in bytes of 7
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")
