"""Where the page of an audit goes: a file of that name that is not such a page stays as it is."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import DataError

REPORT = "report.html"
HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit of '  # of every page of an audit


def refuse_other_report(folder: Path) -> None:
    """Refuses a folder whose `report.html` is somebody else's, a bundle's or a run's for example.

    Raises:
        DataError: it is.
    """
    path = folder / REPORT
    if not path.exists():
        return
    with path.open("rb") as stream:
        if stream.read(len(HEAD.encode())) != HEAD.encode():
            raise DataError(f"--out {folder}: holds another {REPORT}; nothing was overwritten, name another folder")
