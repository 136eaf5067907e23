"""A patient of a DICOM file as a hash, salted with random bytes of this user that stand in no other place."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from pathlib import Path

from edge_runtime.dicom.patients import SALT_BYTES, patient_key
from edge_runtime.drafts import clear_drafts, new_draft_file, remove
from train.audit import cache

_SALT_FILE = "salt"


def patient_in(path: Path) -> str | None:
    """A salted hash that is the same for all DICOM files of one patient; None where the file does not tell."""
    return patient_key(path.read_bytes(), _salt(cache.cache_folder()))


@functools.cache
def _salt(folder: Path) -> bytes:
    """Random, of this user: the hashes in the cache say nothing to anybody who has not also read this file."""
    path = folder / _SALT_FILE
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        # Beside its place first, and linked there: of two that begin at once, both take what stands there then.
        clear_drafts(folder)
        draft, descriptor = new_draft_file(path, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(SALT_BYTES))
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            remove(draft)
            os.close(descriptor)
        stored = path.read_bytes()
        if len(stored) == SALT_BYTES:
            return stored
    return _OF_THIS_PROCESS  # then the hashes are of this run alone, as a cache is that cannot be written


_OF_THIS_PROCESS = secrets.token_bytes(SALT_BYTES)
