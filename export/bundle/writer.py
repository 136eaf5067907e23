"""Writes a bundle: all or nothing. Everything lies in a draft folder beside the target until the very end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.bundle import BUNDLE_FORMAT, MANIFEST
from edge_runtime.device.signatures import SIGNATURE
from edge_runtime.errors import DataError
from edge_runtime.hashing import sha256_of
from edge_runtime.whole_files import recover_folder, require_replaceable, whole_folder


@contextlib.contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """An empty draft folder, which becomes the target when the block ends, and vanishes when it fails.

    Args:
        target: must not exist, or be empty, or be an earlier bundle, which is then replaced.

    Raises:
        DataError: the target is something else.
    """
    refuse_foreign(target)
    with whole_folder(target, is_bundle) as draft:
        yield draft


def refuse_foreign(target: Path) -> None:
    """Refuses a target that holds anything but an earlier bundle; one that a kill left aside is brought back first.

    Raises:
        DataError: it does.
    """
    place = Path(os.path.realpath(target))
    recover_folder(place)
    try:
        require_replaceable(place, is_bundle)
    except DataError as error:
        message = "exists and is not a bundle, or holds more than one; nothing was overwritten, name another folder"
        raise DataError(f"--out {target}: {message}") from error


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle and nothing else: its manifest is ours and lists every file but its signature.

    A file that is listed and missing is no obstacle: a bundle that was damaged may be replaced.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or "spec" not in manifest:
        return False
    files = manifest.get("files")
    if manifest["format"] != BUNDLE_FORMAT or not isinstance(files, dict) or not files:
        return False
    listed = {MANIFEST, SIGNATURE, *files}
    folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
    return all(_is_listed(path, path.relative_to(folder).as_posix(), listed, folders) for path in folder.rglob("*"))


def _is_listed(path: Path, name: str, files: set[str], folders: set[str]) -> bool:
    if path.is_symlink():
        return False
    return name in folders if path.is_dir() else name in files


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes `manifest.json`: the facts, and size and SHA-256 of every other file in the folder.

    Args:
        folder: all other files are in it.
        facts: of the bundle, plain JSON types.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in paths
    }
    manifest = {"format": BUNDLE_FORMAT, **facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
