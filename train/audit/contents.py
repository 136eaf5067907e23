"""What each file holds: bytes hashed, equal ones decoded once, and nothing read twice that has not changed since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ImageError, StorageError
from edge_runtime.hashing import sha256_of
from edge_runtime.images import DICOM, read_image
from train.audit import cache
from train.audit.patient_hashes import patient_in
from train.audit.workers import THREADS, Workers

BLANK_SPREAD = 5  # grey levels between the percentiles below; less is a blank image
_BLANK_PERCENTILES = (0.5, 99.5)  # a few specks do not make a blank image a radiograph
_GONE, _FORBIDDEN = "the file is gone or its link leads nowhere", "no permission to read the file"


@dataclass(frozen=True)
class Content:
    """What one readable image file holds."""

    sha256: str  # hexadecimal, of the file's bytes
    pixels_sha256: str  # hexadecimal, of the decoded full-size grey image and its shape
    bytes: int  # size of the file
    width: int  # pixels, as decoded
    height: int  # pixels, as decoded
    mode: str  # of its pixels: `DecodedImage.mode`
    format: str  # what the file is by its content
    patient: str | None = None  # salted hash of a DICOM file's PatientID; None: not told


Known = dict[str, tuple[list[int], Content | str]]  # path -> (size and time of change, content or why there is none)


def read_contents(
    root: Path, paths: list[str], progress: Callable[[int, int], None], workers: Workers = THREADS
) -> list[Content | str]:
    """The content, or why there is none, of each file below root.

    Files whose size and time of change are those of an earlier call are not read again.

    Raises:
        StorageError: the operating system refused to read a file.
    """
    key = os.path.realpath(root)
    known = _known(cache.load("contents", key))
    stamps = {path: _stamp(root / path) for path in paths}
    fresh = [path for path in paths if path not in known or known[path][0] != stamps[path]]
    if fresh:
        known.update(
            zip(fresh, zip([stamps[p] for p in fresh], _read(root, fresh, progress, workers), strict=True), strict=True)
        )
        known = {path: known[path] for path in paths}
        cache.store("contents", key, {path: [stamp, _plain(content)] for path, (stamp, content) in known.items()})
    return [known[path][1] for path in paths]


def _known(stored: Any) -> Known:
    entries = (stored or {}).items()
    return {path: (stamp, value if isinstance(value, str) else Content(**value)) for path, (stamp, value) in entries}


def _plain(content: Content | str) -> dict[str, Any] | str:
    return content if isinstance(content, str) else asdict(content)


def _stamp(path: Path) -> list[int]:
    """Size, time of change and number of a file; empty where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read(root: Path, paths: list[str], progress: Callable[[int, int], None], workers: Workers) -> list[Content | str]:
    root = root.absolute()  # processes elsewhere have other current folders
    hashes = list(workers.map(partial(_hash_file, root), paths))
    decoded: dict[str, Content | str] = {why: why for why in (_GONE, _FORBIDDEN)}
    firsts: dict[str, str] = {}
    for sha256, path in zip(hashes, paths, strict=True):
        if sha256 not in decoded:
            firsts.setdefault(sha256, path)
    contents = workers.map(partial(_decode, root), list(firsts.values()))
    for done, (sha256, content) in enumerate(zip(firsts, contents, strict=True), 1):
        decoded[sha256] = content if isinstance(content, str) else replace(content, sha256=sha256)
        progress(done, len(firsts))
    return [decoded[sha256] for sha256 in hashes]


def _hash_file(root: Path, name: str) -> str:
    """Hexadecimal SHA-256 of a file below root, or why it has none."""
    path = root / name
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return _GONE
    except PermissionError:
        return _FORBIDDEN
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error


def _decode(root: Path, name: str) -> Content | str:
    """The content of an image file below root (without the hash of its bytes), or why it has none."""
    path = root / name
    try:
        decoded = read_image(path)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")
    if is_blank(decoded.grey_u8):
        return "blank: all pixels have nearly the same value"
    height, width = decoded.grey_u8.shape
    digest, size = hash_pixels(decoded.grey_u8), path.stat().st_size
    patient = patient_in(path) if decoded.format == DICOM else None
    return Content("", digest, size, width, height, decoded.mode, decoded.format, patient)


def is_blank(grey_u8: NDArray[np.uint8]) -> bool:
    """Whether a uint8 (H, W) image shows nothing."""
    low, high = np.percentile(grey_u8, _BLANK_PERCENTILES)
    return bool(high - low < BLANK_SPREAD)


def hash_pixels(grey_u8: NDArray[np.uint8]) -> str:
    """Hexadecimal SHA-256 of a uint8 (H, W) image and its shape."""
    shape = np.array(grey_u8.shape, "<i8").tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(grey_u8).tobytes()).hexdigest()
