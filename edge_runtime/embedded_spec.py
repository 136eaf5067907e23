"""The spec inside a model file, so that one file alone can be deployed, and the SHA-256 of the model without it.

Both formats allow bytes to be added behind the model without changing it. A `.tflite` gets a ZIP archive, which the
standard library reads from the end of a file. An `.onnx` gets `metadata_props`: a protobuf message followed by
another is the merge of both, so the entries can stand behind the model and be read here without the `onnx` package.
A ZIP has a checksum of what it holds; the metadata entries get a SHA-256 of the spec, for the same reason.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec

MEMBER = "edge.json"  # file in the ZIP of a .tflite; key of the metadata entry in an .onnx
DIGEST_KEY = "edge.json_sha256"  # metadata entry of an .onnx
LENGTH_KEY = "edge.model_bytes"  # last metadata entry of an .onnx, so that the model's length ends the file

_NO_SPEC = "carries no readable spec; was it written by edge-export, and copied whole?"
_BLOCK_BYTES = 1 << 22  # large, since each costs a wait for Python's lock where another thread imports
_LENGTH_DIGITS = 16
_LARGEST_TAIL_BYTES = 1 << 20
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same model and spec give the same bytes
# What struct and json raise on altered bytes; RecursionError is a RuntimeError.
_DAMAGE = (struct.error, LookupError, ValueError, TypeError, OverflowError, RuntimeError)
# End of central directory, and an entry of it: APPNOTE 4.3.16 and 4.3.12.
_ZIP_END, _ZIP_ENTRY = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L")
_ZIP_ENTRY_FIELDS = (0, 4, 7, 8, 10, 11, 16)  # magic, method, checksum, stored size, length of name and extra, offset
_ZIP_ENTRY_MAGIC, _ZIP_LOCAL_BYTES = b"PK\x01\x02", 30
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
        import zipfile  # in exporting alone

        buffer = io.BytesIO(model)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(zipfile.ZipInfo(MEMBER, _ZIP_DATE), text)
        return buffer.getvalue()
    return model + _metadata_tail(text, len(model))


def read_embedded_spec(path: Path, verify: bool = True) -> EmbeddedSpec:
    """What the model file says of itself. The file is read, nothing is executed.

    Args:
        path: a `.tflite` or `.onnx` file.
        verify: whether to compare the model's bytes with the SHA-256 inside; False for a file verified otherwise.

    Raises:
        ModelError: there is no embedded spec, it is damaged, or the model's bytes are not those it was made for.
    """
    try:
        with path.open("rb") as stream:
            embedded = _from_json(_zip_member(stream) if path.suffix == ".tflite" else _metadata_value(stream))
    except OSError as error:
        # Altered bytes may send a seek anywhere; any other refusal is the operating system's.
        if error.errno != errno.EINVAL:
            raise
        raise ModelError(f"{path}: {_NO_SPEC} ({error})") from error
    except _DAMAGE as error:
        raise ModelError(f"{path}: {_NO_SPEC} ({error})") from error
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
        while left > 0 and (block := stream.read(min(left, _BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _from_json(text: bytes) -> EmbeddedSpec:
    record = json.loads(text)
    return EmbeddedSpec(ModelSpec.from_dict(record["spec"]), str(record["model_sha256"]), int(record["model_bytes"]))


def _zip_member(stream: BinaryIO) -> bytes:
    """The one stored member of the ZIP at the end of a file, its checksum compared (PKWARE APPNOTE, 4.3).

    The `zipfile` module reads it as well, but its import delays the first answer.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _LARGEST_TAIL_BYTES))
    tail = stream.read()
    *_, entries, directory_bytes, _, comment_bytes = _ZIP_END.unpack_from(tail, len(tail) - _ZIP_END.size)
    directory = len(tail) - _ZIP_END.size - directory_bytes
    entry = _ZIP_ENTRY.unpack_from(tail, max(0, directory))
    magic, method, checksum, stored_bytes, name_bytes, extra_bytes, offset = (entry[at] for at in _ZIP_ENTRY_FIELDS)
    start = offset - (size - len(tail)) + _ZIP_LOCAL_BYTES + name_bytes
    text, name = tail[start : start + stored_bytes], tail[start - name_bytes : start]
    if (entries, comment_bytes, magic, method, extra_bytes) != (1, 0, _ZIP_ENTRY_MAGIC, 0, 0) or start < name_bytes:
        raise ValueError("no archive of one stored member at its end")
    if name != MEMBER.encode() or len(text) != stored_bytes or zlib.crc32(text) != checksum:
        raise ValueError("the archive at its end is damaged")
    return text


def _metadata_value(stream: BinaryIO) -> bytes:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _LENGTH_DIGITS))
    model_bytes = int(stream.read(_LENGTH_DIGITS))
    if not 0 < size - model_bytes <= _LARGEST_TAIL_BYTES:
        raise ValueError("its length is not the one written at its end")
    stream.seek(model_bytes)
    tail = stream.read()
    text = dict(_metadata_entries(tail))[MEMBER.encode()]
    # Written again it must come out the same, its digest included.
    if _metadata_tail(text, model_bytes) != tail:
        raise ValueError("its bytes do not have the digest written beside them")
    return text


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
