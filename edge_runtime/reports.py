"""What a run over many images leaves beside its lines: a table of all answers, and one line that sums up."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_runtime.whole_files import whole_file

COLUMNS = (
    *("path", "decision", "label", "probability", "threshold", "reason", "warnings"),
    *("model", "model_sha256", "engine", "error_code", "error_message"),
)


class Tally:
    """Counts decisions, and how many images a second were answered."""

    def __init__(self) -> None:
        self._decisions, self._failed, self._start = Counter[str](), 0, time.perf_counter()

    def add(self, record: Mapping[str, Any]) -> None:
        """Counts one image: its prediction, or its failure, as edge-infer prints it with --json."""
        if "error" in record:
            self._failed += 1
        else:
            self._decisions[record["decision"]] += 1

    @property
    def total(self) -> int:
        """Images so far."""
        return self._decisions.total() + self._failed

    def __str__(self) -> str:
        seconds = max(time.perf_counter() - self._start, 1e-9)
        parts = [f"{count} {decision}" for decision, count in sorted(self._decisions.items())]
        parts += [f"{self._failed} failed"] if self._failed else []
        return f"{self.total} images: {', '.join(parts) or 'none judged'}; {self.total / seconds:.1f} images a second"


class TableFile(AbstractContextManager["TableFile"]):
    """A CSV file of all answers, a row an image, that appears whole when the block ends without an error.

    Args:
        path: of the file; one there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._whole = whole_file(path)

    def __enter__(self) -> TableFile:
        draft = self._whole.__enter__()
        # A name that is no text is escaped, as in the lines for people.
        self._stream = draft.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._rows = csv.writer(self._stream)
        self._rows.writerow(COLUMNS)
        return self

    def add(self, record: Mapping[str, Any]) -> None:
        """Writes the row of one image, as edge-infer prints it with --json."""
        error = record.get("error", {})
        values = {**record, "error_code": error.get("code", ""), "error_message": error.get("message", "")}
        values["warnings"] = "; ".join(record.get("warnings", ()))
        self._rows.writerow([values.get(name, "") for name in COLUMNS])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._whole.__exit__(kind, error, trace)
