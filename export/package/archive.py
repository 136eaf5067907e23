"""A folder to a zip archive: whole or not at all, and the same bytes for the same files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_COMPRESSED_ALREADY = (".whl", ".png")
_FILE, _PROGRAM = 0o100644, 0o100755  # modes of a Unix file, as `unzip` restores them


def write_archive(folder: Path, archive: Path, top: str) -> None:
    """Writes all files of a folder, sorted, beside the target and renames the result.

    Args:
        folder: what to pack.
        archive: an earlier file there is replaced.
        top: the one folder inside the archive.
    """
    unfinished = archive.with_name(f".{archive.name}.{os.getpid()}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w") as stream:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                _add(stream, path, f"{top}/{path.relative_to(folder).as_posix()}")
        os.replace(unfinished, archive)
    finally:
        unfinished.unlink(missing_ok=True)


def _add(stream: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.external_attr = (_PROGRAM if os.access(path, os.X_OK) else _FILE) << 16
    entry.compress_type = zipfile.ZIP_STORED if path.suffix in _COMPRESSED_ALREADY else zipfile.ZIP_DEFLATED
    with path.open("rb") as source, stream.open(entry, "w") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
