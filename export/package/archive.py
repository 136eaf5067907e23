"""A folder to a zip archive: whole or not at all, and the same bytes for the same files."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from edge_runtime.errors import DataError
from edge_runtime.whole_files import whole_file

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_COMPRESSED_ALREADY = (".whl", ".png")
_IN_EVERY_PACKAGE = frozenset({"SHA256SUMS", "install.sh", "bundle/manifest.json"})
_FILE, _PROGRAM = 0o100644, 0o100755  # modes of a Unix file, as `unzip` restores them


def write_archive(folder: Path, archive: Path, top: str) -> None:
    """Writes all files of a folder, sorted; the archive appears whole or not at all.

    Args:
        folder: what to pack.
        archive: an earlier archive there is replaced.
        top: the one folder inside the archive.

    Raises:
        DataError: something else stands there.
    """
    require_archive_of_ours(archive)
    with whole_file(archive) as draft, zipfile.ZipFile(draft, "w") as stream:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            _add(stream, path, f"{top}/{path.relative_to(folder).as_posix()}")


def require_archive_of_ours(archive: Path) -> None:
    """Refuses to replace a file that is not a package: somebody else's archive may bear the same name.

    Raises:
        DataError: it is not.
    """
    if not archive.exists():
        return
    try:
        with zipfile.ZipFile(archive) as stream:
            names = {name.partition("/")[2] for name in stream.namelist()}
    except (OSError, zipfile.BadZipFile):
        names = set()
    if not names >= _IN_EVERY_PACKAGE:
        raise DataError(f"--package {archive}: exists and is not a package; nothing was overwritten, give another name")


def _add(stream: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.external_attr = (_PROGRAM if os.access(path, os.X_OK) else _FILE) << 16
    entry.compress_type = zipfile.ZIP_STORED if path.suffix in _COMPRESSED_ALREADY else zipfile.ZIP_DEFLATED
    with path.open("rb") as source, stream.open(entry, "w") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
