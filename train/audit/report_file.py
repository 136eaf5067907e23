"""Where the page of an audit goes: a file of that name that is not such a page stays as it is."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import DataError
from train.pages import is_page_of

REPORT = "report.html"
COMMAND = "edge-audit"


def refuse_other_report(folder: Path) -> None:
    """Refuses a folder whose `report.html` is somebody else's, a bundle's or a run's for example.

    Raises:
        DataError: it is.
    """
    path = folder / REPORT
    if path.exists() and not is_page_of(COMMAND, path):
        raise DataError(f"--out {folder}: holds another {REPORT}; nothing was overwritten, name another folder")
