"""DICOM to grey uint8, by pydicom and the decoders of the extra `[dicom]`: what the X-rays of a clinic live in.

Nothing that says who the patient is leaves this folder: only the tags that pixels need are read at all, no message
quotes a value or an exception of a library, and a patient is known by a salted hash alone (`patients.py`).
"""

from __future__ import annotations

from edge_runtime.dicom.files import INSTALL_DICOM, is_dicom
from edge_runtime.dicom.read import DicomImage, read_dicom

__all__ = ["INSTALL_DICOM", "DicomImage", "is_dicom", "read_dicom"]
