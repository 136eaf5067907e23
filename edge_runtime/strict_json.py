"""JSON as the tools write it, and nothing looser: what Python's reader lets through is refused."""

from __future__ import annotations

import json
from typing import Any


def loads_strict(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, a key stands twice in one object, NaN or Infinity, or nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_count(value: object) -> bool:
    """Whether a value is a whole number, not negative; True is none, though Python counts it as 1."""
    return type(value) is int and value >= 0


def is_sha256(value: object) -> bool:
    """Whether a value is a hexadecimal SHA-256 as the tools write it."""
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} stands twice in one object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")
