"""What makes a file a DICOM file, and its data elements: those asked for, and no others."""

from __future__ import annotations

import contextlib
import io
import logging
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_runtime.errors import DependencyError, ImageError
from edge_runtime.python_warnings import warnings_off

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

INSTALL_DICOM = "pip install 'fracture-edge-runtime[dicom]'"
MOST_FILE_BYTES = 96 << 20  # of a file with all its frames: it is held twice
PREFIX_BYTES = 132  # what `is_dicom` needs to see
_MAGIC, _MAGIC_OFFSET = b"DICM", 128
_DEFLATED = "1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian
_META_GROUP = 0x0002
_MOST_INFLATED = 96 << 20  # bytes; a file of 1 MB could hold a thousand times as much


def is_dicom(head: bytes) -> bool:
    """Whether a file with these first PREFIX_BYTES is DICOM (PS3.10, 7.1). What stands before may look like a TIFF."""
    return head[_MAGIC_OFFSET:PREFIX_BYTES] == _MAGIC


def read_elements(data: bytes, name: str, keywords: tuple[str, ...], pixels: bool = False) -> FileDataset:
    """The data elements of a file that keywords name, where the file has them.

    Args:
        data: the whole file, or its beginning where `pixels` is False.
        name: of the file, for messages.
        keywords: DICOM's names of the elements. All others are dropped while reading: patients' names too.
        pixels: whether to read on into the pixel data.

    Raises:
        ImageError: the file is damaged.
        DependencyError: pydicom is not installed.
    """
    try:
        from pydicom import dcmread
    except ImportError as error:
        raise DependencyError(f"{name} is a DICOM file: {INSTALL_DICOM}") from error
    try:
        stream = io.BytesIO(_inflated(data))
        return dcmread(stream, stop_before_pixels=not pixels, specific_tags=list(keywords))
    except MemoryError:
        raise
    except EOFError:
        raise ImageError(f"{name}: truncated DICOM file", "truncated") from None
    except Exception:  # noqa: B902 - damaged files raise nearly anything, and its text may quote a patient
        raise ImageError(f"{name}: damaged DICOM file: its data elements cannot be read", "unreadable") from None


def _inflated(data: bytes) -> bytes:
    """The file with its data set inflated, if it is deflated (PS3.5, A.5), and then marked as if it had never been."""
    from pydicom.filereader import read_partial
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import ExplicitVRLittleEndian

    stream = io.BytesIO(data)
    head = read_partial(stream, stop_when=lambda tag, *_: tag.group != _META_GROUP)
    if str(head.file_meta.get("TransferSyntaxUID", "")) != _DEFLATED:
        return data
    start = _MAGIC_OFFSET + len(_MAGIC) + 12 + head.file_meta.FileMetaInformationGroupLength  # 12: that element itself
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data_set = inflater.decompress(data[start:], _MOST_INFLATED)
    if not inflater.eof:
        raise EOFError
    meta = io.BytesIO()
    head.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    write_file_meta_info(meta, head.file_meta)
    return bytes(_MAGIC_OFFSET) + _MAGIC + meta.getvalue() + data_set


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps pydicom's warnings and log lines, which quote values, from being shown by anybody."""
    logger = logging.getLogger("pydicom")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.CRITICAL + 1)
    with warnings_off:
        yield
