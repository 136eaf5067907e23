"""The spec inside a model file, so that one file alone can be deployed, and the SHA-256 of the model without it.

Both formats allow bytes to be added behind the model without changing it. A `.tflite` gets a ZIP archive, which the
standard library reads from the end of a file. An `.onnx` gets `metadata_props`: a protobuf message followed by
another is the merge of both, so the entries can stand behind the model and be read here without the `onnx` package.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec

MEMBER = "edge.json"  # file in the ZIP of a .tflite; key of the metadata entry in an .onnx
LENGTH_KEY = "edge.model_bytes"  # last metadata entry of an .onnx, so that the model's length ends the file

_LENGTH_DIGITS = 16
_LARGEST_TAIL_BYTES = 1 << 20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same model and spec give the same bytes
_METADATA_PROPS_TAG = (14 << 3) | 2  # ModelProto.metadata_props, length-delimited (onnx.proto)
_KEY_TAG, _VALUE_TAG = (1 << 3) | 2, (2 << 3) | 2  # StringStringEntryProto


@dataclass(frozen=True)
class EmbeddedSpec:
    """What a model file says of itself."""

    spec: ModelSpec  # with the tensors of this file
    model_sha256: str  # of the model's bytes without the embedded spec, hexadecimal
    model_bytes: int  # length of the model without the embedded spec


def embed(model: bytes, spec: ModelSpec, suffix: str) -> bytes:
    """The bytes of a model file with the spec inside.

    Args:
        model: a `.tflite` or `.onnx` file as its converter wrote it.
        spec: with the tensors of this file.
        suffix: `.tflite` or `.onnx`.
    """
    record = {"spec": spec.to_dict(), "model_sha256": hashlib.sha256(model).hexdigest(), "model_bytes": len(model)}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    if suffix == ".tflite":
        buffer = io.BytesIO(model)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(zipfile.ZipInfo(MEMBER, _ZIP_DATE), text)
        return buffer.getvalue()
    length = f"{len(model):0{_LENGTH_DIGITS}d}".encode()
    return model + _metadata_entry(MEMBER.encode(), text) + _metadata_entry(LENGTH_KEY.encode(), length)


def read_embedded_spec(path: Path, verify: bool = True) -> EmbeddedSpec:
    """What the model file says of itself. The file is read, nothing is executed.

    Args:
        path: a `.tflite` or `.onnx` file.
        verify: whether to compare the model's bytes with the SHA-256 inside; False for a file verified otherwise.

    Raises:
        ModelError: there is no embedded spec, it is damaged, or the model's bytes are not those it was made for.
    """
    try:
        text = _zip_member(path) if path.suffix == ".tflite" else _metadata_value(path)
        record = json.loads(text)
        embedded = EmbeddedSpec(
            ModelSpec.from_dict(record["spec"]), str(record["model_sha256"]), int(record["model_bytes"])
        )
    except (zipfile.BadZipFile, LookupError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: carries no readable spec ({error}); was it written by edge-export, and copied whole?"
        ) from error
    if verify and sha256_of(path, embedded.model_bytes) != embedded.model_sha256:
        raise ModelError(
            f"{path}: the model's SHA-256 is not the one written inside it: the file was altered; copy it again"
        )
    return embedded


def sha256_of(path: Path, length: int | None = None) -> str:
    """Hexadecimal SHA-256 of the first `length` bytes of a file, of all without it, read in blocks."""
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _zip_member(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(MEMBER)


def _metadata_value(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _LENGTH_DIGITS))
        model_bytes = int(stream.read(_LENGTH_DIGITS))
        if not 0 < size - model_bytes <= _LARGEST_TAIL_BYTES:
            raise ValueError("its length is not the one written at its end")
        stream.seek(model_bytes)
        entries = dict(_metadata_entries(stream.read()))
    return entries[MEMBER.encode()]


def _metadata_entry(key: bytes, value: bytes) -> bytes:
    body = bytes([_KEY_TAG]) + _varint(len(key)) + key + bytes([_VALUE_TAG]) + _varint(len(value)) + value
    return bytes([_METADATA_PROPS_TAG]) + _varint(len(body)) + body


def _metadata_entries(tail: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each metadata entry in a run of nothing but metadata entries."""
    for tag, body in _fields(tail):
        if tag != _METADATA_PROPS_TAG:
            raise ValueError("unexpected bytes behind the model")
        parts = dict(_fields(body))
        yield parts[_KEY_TAG], parts[_VALUE_TAG]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, bytes) of each length-delimited field of a protobuf message."""
    position = 0
    while position < len(message):
        tag = message[position]
        length, start = _read_varint(message, position + 1)
        position = start + length
        if position > len(message):
            raise ValueError("the bytes behind the model end early")
        yield tag, message[start:position]


def _varint(number: int) -> bytes:
    """Base-128 encoding of a non-negative integer (protobuf encoding, 'Base 128 Varints')."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The integer at a position, and the position behind it."""
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
