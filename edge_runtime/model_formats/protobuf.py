"""`.onnx`: a protobuf message (onnx.proto), and behind it entries of its `metadata_props` that hold the spec.

A message followed by another is the merge of both, so entries can stand behind the model and be read here without the
`onnx` package. A ZIP has a checksum of what it holds; these entries get a SHA-256 of the spec, for the same reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from edge_runtime.model_formats.model_format import LARGEST_TAIL_BYTES, MEMBER, ModelFormat, ModelTables, Shape

_DIGEST_KEY = "edge.json_sha256"
_LENGTH_KEY = "edge.model_bytes"  # of the last entry, so that the model's length ends the file
_LENGTH_DIGITS = 16
_METADATA_PROPS = 14  # field of ModelProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_OF_BYTES = 2  # kind of a field that gives its length
_DEEPEST = 16  # graphs inside graphs

_TYPES = {1: "float32", 2: "uint8", 3: "int8"}
_MODEL_GRAPH, _MODEL_FUNCTION, _FUNCTION_NODE = 7, 25, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 13, 14


def _metadata_value(content: bytes) -> bytes:
    """The spec among the entries at the end of a file."""
    digits = content[-_LENGTH_DIGITS:]
    if len(digits) != _LENGTH_DIGITS or not digits.isdigit():
        raise ValueError("its length is not written at its end")
    tail = memoryview(content)[int(digits) :]
    if not 0 < len(tail) <= LARGEST_TAIL_BYTES:
        raise ValueError("its length is not the one written at its end")
    entries = {}
    for number, body in _fields(tail):
        if number != _METADATA_PROPS:
            raise ValueError("unexpected bytes behind the model")
        parts = {part: bytes(_message(value)) for part, value in _fields(_message(body))}
        entries[parts[_KEY]] = parts[_VALUE]
    return entries[MEMBER.encode()]


def _metadata_tail(text: bytes, model_bytes: int) -> bytes:
    """The metadata entries behind a model; the length comes last, so that it ends the file."""
    entries = (
        (MEMBER, text),
        (_DIGEST_KEY, hashlib.sha256(text).hexdigest().encode()),
        (_LENGTH_KEY, f"{model_bytes:0{_LENGTH_DIGITS}d}".encode()),
    )
    return b"".join(
        _bytes_field(_METADATA_PROPS, _bytes_field(_KEY, key.encode()) + _bytes_field(_VALUE, value))
        for key, value in entries
    )


def _bytes_field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _OF_BYTES]) + _varint(len(content)) + content


def _read_tables(model: memoryview) -> ModelTables:
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
    return name, _TYPES.get(elem, f"type {elem}"), tuple(map(_size, shape))


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
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        length, at = _read_varint(message, at) if kind == _OF_BYTES else ({1: 8, 5: 4}[kind], at)
        if at + length > len(message):
            raise ValueError("a field says that it is longer than the file")
        yield key >> 3, message[at : at + length] if kind == _OF_BYTES else 0
        at += length


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:  # 64 bits in bytes of 7
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")


def _varint(number: int) -> bytes:
    """Base-128 encoding of a non-negative integer (protobuf encoding, 'Base 128 Varints')."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


ONNX = ModelFormat(".onnx", _metadata_tail, _metadata_value, _read_tables)
