"""What a document about an image has to bear so that it belongs to its patient and study, and to nobody else.

The only place where elements that say who the patient is are read: a document without them would belong to nobody.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_runtime import __version__
from edge_runtime.dicom.files import silenced
from edge_runtime.errors import ImageError

MANUFACTURER = "fracture-edge"
# Patient and General Study modules (PS3.3, C.7.1.1 and C.7.2.1), and what a report on a study bears.
_EMPTY_WHERE_MISSING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"),
    *("StudyID", "AccessionNumber"),
)
_WHERE_THERE = (
    "IssuerOfPatientID",
    "SpecificCharacterSet",
    "StudyDescription",
    "PatientAge",
    "OtherPatientIDsSequence",
)
MORE_OF_IMAGE = ("BurnedInAnnotation", "LossyImageCompression", "Laterality")  # that hold of a picture of it too
_OF_IMAGE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Kind:
    """A kind of document."""

    sop_class: str
    modality: str
    series_number: int
    seed: tuple[str, str]  # words from which UIDs of instance and series are made


def accession_number(content: bytes) -> str:
    """What an image is asked for under in a clinic; empty where it does not say."""
    return _one_word(content, "AccessionNumber")


def is_own(content: bytes) -> bool:
    """Whether an instance was made here: an archive may send back what it got, and again, for ever."""
    return _one_word(content, "Manufacturer") == MANUFACTURER


def _one_word(content: bytes, name: str) -> str:
    from pydicom import dcmread

    with silenced():
        try:
            found = dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=[name])
            return str(found.get(name) or "")
        except Exception:  # noqa: B902 - damaged files raise nearly anything, and its text may quote a patient
            return ""


def read_header(content: bytes) -> Any:
    """The elements of an image that a document about it needs.

    Raises:
        ImageError: it names no study, so no document can belong to it.
    """
    from pydicom import dcmread

    names = [*_EMPTY_WHERE_MISSING, *_WHERE_THERE, *_OF_IMAGE, *MORE_OF_IMAGE]
    try:
        source = dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=names)
        complete = all(source.get(name) for name in _OF_IMAGE)
    except Exception:  # noqa: B902 - as above
        raise ImageError("its header cannot be read for a report", "unreadable") from None
    if not complete:
        raise ImageError("its header names no study, series or instance: no report can belong to it", "unsupported")
    return source


def new_document(kind: Kind, source: Any, record: dict[str, Any]) -> Any:
    """A data set in the study of an image, with all that documents of every kind have.

    The same image and network give the same SOP Instance UID: a document that is sent twice is one document.

    Args:
        kind: of the document.
        source: header of the image, as `read_header` has it.
        record: its answer, as edge-infer prints it.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    seed = [str(source.SOPInstanceUID), record["model_sha256"], str(record["threshold"])]
    uid, now = generate_uid(entropy_srcs=[kind.seed[0], *seed]), datetime.now()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind.sop_class, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    document = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for name in _EMPTY_WHERE_MISSING:
        setattr(document, name, source.get(name))
    for name in _WHERE_THERE:
        if name in source:
            setattr(document, name, source.get(name))
    document.StudyInstanceUID = source.StudyInstanceUID
    given: dict[str, Any] = {
        **{"SOPClassUID": kind.sop_class, "SOPInstanceUID": uid, "Modality": kind.modality, "InstanceNumber": 1},
        **{"SeriesInstanceUID": generate_uid(entropy_srcs=[kind.seed[1], *seed]), "SeriesNumber": kind.series_number},
        **{"SeriesDescription": "Fracture detection, research use only", "Manufacturer": MANUFACTURER},
        **{"ManufacturerModelName": record["model"][:64], "SoftwareVersions": __version__, "DeviceSerialNumber": "0"},
        **{"ContentDate": now.strftime("%Y%m%d"), "ContentTime": now.strftime("%H%M%S")},
    }
    for name, value in given.items():
        setattr(document, name, value)
    return document


def written(document: Any) -> bytes:
    """The document as a DICOM file."""
    from pydicom import dcmwrite

    with silenced():
        stream = io.BytesIO()
        dcmwrite(stream, document, enforce_file_format=True)
        return stream.getvalue()
