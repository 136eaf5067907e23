"""The lines of JSON that edge-infer writes: one object an image, the same on standard output and in a results file."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from edge_runtime.errors import DependencyError, ImageError, StorageError


def failure_record(path: str | os.PathLike[str], error: ImageError | DependencyError | StorageError) -> dict[str, Any]:
    """What is printed for an image that could not be judged."""
    codes = {DependencyError: "dependency", StorageError: "storage"}
    code = error.code if isinstance(error, ImageError) else codes[type(error)]
    return {"path": os.fspath(path), "error": {"code": code, "message": str(error)}}


def encode_line(record: dict[str, Any]) -> bytes:
    """UTF-8 JSON and a line feed."""
    # NaN and infinity are no JSON: nobody who reads the line strictly would get any of it.
    # File names need not be valid text; what cannot be encoded is escaped, and JSON reads the escape as it was.
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
