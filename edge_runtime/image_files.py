"""Which files are images, and opening them: regular files alone, for a pipe could keep us waiting for ever."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from edge_runtime.dicom import is_dicom
from edge_runtime.dicom.files import PREFIX_BYTES
from edge_runtime.errors import ImageError, StorageError
from edge_runtime.limits import MEGABYTE, Limits
from edge_runtime.regular_files import NotRegularError, open_regular

# As files in folders count. The last are pictures of formats that are not read: each gets its error line, for a picture
# that is passed over in silence would be taken for judged.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .bmp .dib .gif .tif .tiff .webp .pgm .pnm .ppm .dcm .dicom "
    ".jp2 .j2k .j2c .jpc .jpf .jpx .jxl .heic .heif .hif .avif .tga .psd .pcx .exr .dng".split()
)
STANDARD_INPUT = "-"


def open_image_file(source: Path | bytes, name: str, limits: Limits) -> BinaryIO:
    """A regular file, or the bytes of one, to be read and closed.

    Raises:
        ImageError: missing, no regular file, or too large.
        StorageError: the operating system refused to open it.
    """
    if isinstance(source, bytes):
        _check_size(len(source), name, limits)
        return io.BytesIO(source)
    try:
        stream, size = open_regular(source)
    except NotRegularError as error:
        raise ImageError(f"{name}: {error}, not an image file", "unsupported") from error
    except (FileNotFoundError, ValueError) as error:  # ValueError: a null character, which no name can have
        raise ImageError(f"{name}: no such file", "missing") from error
    except OSError as error:
        raise StorageError(f"{name}: cannot be read: {error.strerror}") from error
    try:
        _check_size(size, name, limits)
    except ImageError:
        stream.close()
        raise
    return stream


def _check_size(size: int, name: str, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise ImageError(
            f"{name}: a file of {size / MEGABYTE:.0f} MB, more than the {limits.file_bytes / MEGABYTE:.0f} MB allowed",
            "too_large",
        )


def find_images(paths: list[Path]) -> list[Path]:
    """The image files that paths name: files as they are, folders searched through, in sorted order.

    Files in folders count by their suffix, DICOM files also by their content, for many have none; hidden files and
    links that lead back into their own folder do not.

    Raises:
        StorageError: a folder cannot be listed.
    """
    found: list[Path] = []
    for path in paths:
        # Unlike Path.is_dir, this does not raise for a name that is too long or lies where nothing may be read:
        # one such path must not keep the others from being judged.
        found.extend(_images_below(path) if os.path.isdir(path) else [path])
    return found


def _images_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise StorageError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    found: list[Path] = []
    # Links to folders are not followed: a circle of them would never end.
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(
            Path(parent, name)
            for name in sorted(files)
            if is_visible_image(name) or (not name.startswith(".") and is_dicom_file(os.path.join(parent, name)))
        )
    return found


def is_visible_image(name: str) -> bool:
    """Whether a file in a folder counts as an image, by its name alone."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def is_dicom_file(path: str) -> bool:
    """Whether a file is DICOM by its content; False where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False  # reading from a pipe could wait for ever
        with open(path, "rb") as stream:
            return is_dicom(stream.read(PREFIX_BYTES))
    except OSError:
        return False
