"""`.tflite`: a FlatBuffer (schema.fbs of TensorFlow Lite), and behind it a ZIP archive that holds the spec.

A FlatBuffer is read from its beginning and a ZIP from its end, so neither disturbs the other. Of the tables only the
few fields on the way to the inputs and outputs are read, each within the bytes that there are.
"""

from __future__ import annotations

import struct
import zlib

from edge_runtime.model_formats.model_format import LARGEST_TAIL_BYTES, MEMBER, ModelFormat, ModelTables, Shape

_ZIP_DATE = 1 << 5 | 1  # 1 January 1980: the same model and spec give the same bytes
# A member, an entry of the central directory and its end: APPNOTE 4.3.7, 4.3.12 and 4.3.16.
_ZIP_LOCAL, _ZIP_ENTRY, _ZIP_END = (struct.Struct(form) for form in ("<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"))
_ZIP_ENTRY_MAGIC = b"PK\x01\x02"
_ZIP_STORED_FIELD = 8  # of an entry: bytes of its member
_ZIP_VERSION, _ZIP_SYSTEM, _ZIP_PERMISSIONS = 20, 3 << 8 | 20, 0o600 << 16  # 2.0, made on Unix

# FlatBuffers: offsets are relative to where they stand, fields of a table are found through its vtable.
_MOST_ENTRIES = 100_000  # of one table: no network has more, and a crafted count would keep us busy
_TYPES = {0: "float32", 3: "uint8", 9: "int8"}
_MAGIC, _SIGNATURE = b"TFL3", b"serving_default"


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
    if not 0 < stored_bytes <= min(LARGEST_TAIL_BYTES, directory):
        raise ValueError("the archive at its end is damaged")
    return content[directory - stored_bytes : directory]


def _read_tables(model: memoryview) -> ModelTables:
    if model[4:8] != _MAGIC:
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
            into[_text(model, entry, 0).decode()] = _end(model, tensors[_scalar("<I", model, entry, 1, 0)])
    return ends


def _end(model: memoryview, tensor: int) -> tuple[str, Shape]:
    number = _scalar("<b", model, tensor, 1, 0)
    start, count = _vector(model, tensor, 0)
    return _TYPES.get(number, f"type {number}"), struct.unpack_from(f"<{count}i", model, start)


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


TFLITE = ModelFormat(".tflite", _zip_archive, _zip_member, _read_tables)
