"""Writes a bundle: all or nothing. Everything lies in a draft folder beside the target until the very end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.bundle import BUNDLE_FORMAT, MANIFEST
from edge_runtime.embedded_spec import sha256_of
from edge_runtime.errors import DataError


@contextlib.contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """An empty draft folder, which becomes the target when the block ends, and vanishes when it fails.

    Args:
        target: must not exist, or be empty, or be an earlier bundle, which is then replaced.

    Raises:
        DataError: the target is something else.
    """
    refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    draft.mkdir()
    try:
        yield draft
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Refuses a target that holds anything but an earlier bundle.

    Raises:
        DataError: it does.
    """
    if not target.exists() or (target / MANIFEST).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise DataError(f"--out {target}: exists and is not a bundle; nothing was overwritten, name another folder")


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


def _put_in_place(draft: Path, target: Path) -> None:
    """Renames the draft to the target. An earlier bundle is moved aside first and brought back when that fails."""
    if not (target / MANIFEST).is_file():
        draft.rename(target)
        return
    earlier = target.with_name(f".{target.name}.{os.getpid()}.earlier")
    target.rename(earlier)
    try:
        draft.rename(target)
    except OSError:
        earlier.rename(target)
        raise
    shutil.rmtree(earlier)
