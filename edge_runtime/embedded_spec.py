"""The spec inside a model file, so that one file alone can be deployed, and the SHA-256 of the model without it.

Both formats allow bytes to be added behind the model without changing it. A `.tflite` gets a ZIP archive, which the
standard library reads from the end of a file. An `.onnx` gets `metadata_props`: a protobuf message followed by
another is the merge of both, so the entries can stand behind the model and be read here without the `onnx` package.
A ZIP has a checksum of what it holds; the metadata entries get a SHA-256 of the spec, for the same reason.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec
from edge_runtime.strict_json import is_count, is_sha256, loads_strict

MEMBER = "edge.json"  # file in the ZIP of a .tflite; key of the metadata entry in an .onnx
DIGEST_KEY = "edge.json_sha256"  # metadata entry of an .onnx
LENGTH_KEY = "edge.model_bytes"  # last metadata entry of an .onnx, so that the model's length ends the file

_NO_SPEC = "carries no readable spec; was it written by edge-export, and copied whole?"
_BLOCK_BYTES = 1 << 22  # large, since each costs a wait for Python's lock where another thread imports
_LENGTH_DIGITS = 16
_LARGEST_TAIL_BYTES = 1 << 20
_ZIP_DATE = 1 << 5 | 1  # 1 January 1980: the same model and spec give the same bytes
# What struct and json raise on altered bytes; RecursionError is a RuntimeError.
_DAMAGE = (struct.error, LookupError, ValueError, TypeError, OverflowError, RuntimeError)
# A member, an entry of the central directory and its end: APPNOTE 4.3.7, 4.3.12 and 4.3.16.
_ZIP_LOCAL, _ZIP_ENTRY, _ZIP_END = (struct.Struct(form) for form in ("<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"))
_ZIP_ENTRY_MAGIC = b"PK\x01\x02"
_ZIP_STORED_FIELD = 8  # of an entry: bytes of its member
_ZIP_VERSION, _ZIP_SYSTEM, _ZIP_PERMISSIONS = 20, 3 << 8 | 20, 0o600 << 16  # 2.0, made on Unix
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
    return model + _tail(text, len(model), suffix)


def read_embedded_spec(path: Path, verify: bool = True) -> EmbeddedSpec:
    """What the model file says of itself: as `parse_embedded_spec` of its bytes."""
    return parse_embedded_spec(path.read_bytes(), path.suffix, str(path), verify)


def parse_embedded_spec(content: bytes, suffix: str, where: str, verify: bool = True) -> EmbeddedSpec:
    """What a model file says of itself. Nothing is executed.

    Args:
        content: the bytes of the file.
        suffix: `.tflite` or `.onnx`.
        where: the file, for messages.
        verify: whether to compare the model's bytes with the SHA-256 inside; False for a file verified otherwise.

    Raises:
        ModelError: there is no embedded spec, it is damaged, more stands behind the model, or the model's bytes are
            not those it was made for.
    """
    try:
        text = _zip_member(content) if suffix == ".tflite" else _metadata_value(content)
        embedded = _from_json(text)
        # Written again it must come out the same: then every byte behind the model is accounted for.
        if content[embedded.model_bytes :] != _tail(text, embedded.model_bytes, suffix):
            raise ValueError("other bytes stand behind the model")
    except _DAMAGE as error:
        raise ModelError(f"{where}: {_NO_SPEC} ({error})") from error
    if verify and hashlib.sha256(memoryview(content)[: embedded.model_bytes]).hexdigest() != embedded.model_sha256:
        raise ModelError(
            f"{where}: the model's SHA-256 is not the one written inside it: the file was altered; copy it again"
        )
    return embedded


def sha256_of(path: Path, length: int | None = None) -> str:
    """Hexadecimal SHA-256 of the first `length` bytes of a file, of all without it, read in blocks."""
    digest = hashlib.sha256()
    left = path.stat().st_size if length is None else length
    with path.open("rb") as stream:
        while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _from_json(text: bytes) -> EmbeddedSpec:
    record = loads_strict(text)
    if not isinstance(record, dict) or set(record) != {"spec", "model_sha256", "model_bytes"}:
        raise ValueError("its record has other keys than spec, model_sha256 and model_bytes")
    digest, length = record["model_sha256"], record["model_bytes"]
    if not is_sha256(digest) or not is_count(length) or length == 0:
        raise ValueError("its record does not tell the model's SHA-256 and length")
    return EmbeddedSpec(ModelSpec.from_dict(record["spec"]), digest, length)


def _tail(text: bytes, model_bytes: int, suffix: str) -> bytes:
    """What stands behind a model of so many bytes."""
    return _zip_archive(text, model_bytes) if suffix == ".tflite" else _metadata_tail(text, model_bytes)


def _zip_archive(text: bytes, offset: int) -> bytes:
    """An archive with the text as its one member, stored, as the module `zipfile` would append it at this offset.

    Without that module, whose import delays the first answer (PKWARE APPNOTE, 4.3).
    """
    name, size = MEMBER.encode(), len(text)
    common = (_ZIP_VERSION, 0, 0, 0, _ZIP_DATE, zlib.crc32(text), size, size, len(name), 0)
    local = _ZIP_LOCAL.pack(b"PK\x03\x04", *common) + name
    entry = _ZIP_ENTRY.pack(_ZIP_ENTRY_MAGIC, _ZIP_SYSTEM, *common, 0, 0, 0, _ZIP_PERMISSIONS, offset) + name
    end = _ZIP_END.pack(b"PK\x05\x06", 0, 0, 1, 1, len(entry), offset + len(local) + size, 0)
    return local + text + entry + end


def _zip_member(content: bytes) -> bytes:
    """The text in the archive at the end of a file; that nothing else stands there is for the caller to compare."""
    *_, directory_bytes, directory, comment_bytes = _ZIP_END.unpack_from(content, len(content) - _ZIP_END.size)
    if comment_bytes or directory + directory_bytes + _ZIP_END.size != len(content):
        raise ValueError("no archive of one stored member at its end")
    stored_bytes = _ZIP_ENTRY.unpack_from(content, directory)[_ZIP_STORED_FIELD]
    if not 0 < stored_bytes <= min(_LARGEST_TAIL_BYTES, directory):
        raise ValueError("the archive at its end is damaged")
    return content[directory - stored_bytes : directory]


def _metadata_value(content: bytes) -> bytes:
    digits = content[-_LENGTH_DIGITS:]
    if len(digits) != _LENGTH_DIGITS or not digits.isdigit():
        raise ValueError("its length is not written at its end")
    tail = content[int(digits) :]
    if not 0 < len(tail) <= _LARGEST_TAIL_BYTES:
        raise ValueError("its length is not the one written at its end")
    return dict(_metadata_entries(tail))[MEMBER.encode()]


def _metadata_tail(text: bytes, model_bytes: int) -> bytes:
    """The metadata entries behind a model; the length comes last, so that it ends the file."""
    entries = (
        (MEMBER, text),
        (DIGEST_KEY, hashlib.sha256(text).hexdigest().encode()),
        (LENGTH_KEY, f"{model_bytes:0{_LENGTH_DIGITS}d}".encode()),
    )
    return b"".join(_metadata_entry(key.encode(), value) for key, value in entries)


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
