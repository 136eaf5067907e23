"""A row of results for every image: an answer, or why there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.errors import ImageError, StorageError
from edge_runtime.predictor import Prediction
from edge_runtime.whole_files import whole_file

SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as in the plan
        ("sha256", pa.string()),  # of the file; null where it could not be read
        ("probability", pa.float32()),  # of a fracture; null where there is no answer
        ("threshold", pa.float32()),
        ("decision", pa.string()),  # `fractured`, `not fractured`, `abstain`; null where there is no answer
        ("abstained", pa.bool_()),
        ("reason", pa.string()),
        ("warnings", pa.list_(pa.string())),
        ("error_code", pa.string()),  # null where there is an answer
        ("error_message", pa.string()),
        ("model", pa.string()),
        ("model_sha256", pa.string()),
        ("engine", pa.string()),
    ]
)


def answer_row(path: str, content: bytes, prediction: Prediction) -> dict[str, Any]:
    """The row of an image that was judged."""
    return {
        "path": path,
        "sha256": hashlib.sha256(content).hexdigest(),
        "probability": prediction.probability,
        "threshold": prediction.threshold,
        "decision": prediction.decision,
        "abstained": prediction.decision == "abstain",
        "reason": prediction.reason,
        "warnings": list(prediction.warnings),
        "model": prediction.model,
        "model_sha256": prediction.model_sha256,
        "engine": prediction.engine,
    }


def failure_row(path: str, content: bytes | None, error: ImageError | StorageError) -> dict[str, Any]:
    """The row of an image that could not be judged."""
    return {
        "path": path,
        "sha256": None if content is None else hashlib.sha256(content).hexdigest(),
        "error_code": error.code if isinstance(error, ImageError) else "storage",
        "error_message": str(error),
    }


def write_part(target: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes the rows of a part, whole or not at all."""
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    with whole_file(target) as draft:
        pq.write_table(table, draft, compression="zstd")
