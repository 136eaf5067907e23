"""An answer as DICOM Structured Report: TID 1500 "Measurement Report" (PS3.16), in the study of its image.

The only place where elements that say who the patient is are read: a report without them would belong to nobody.
"""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

from edge_runtime import __version__
from edge_runtime.dicom.files import silenced
from edge_runtime.errors import ImageError

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
MANUFACTURER = "fracture-edge"
_SCHEME = "99FRACTEDGE"  # of codes that no published scheme has
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
_OF_IMAGE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_DECISIONS = {
    "fractured": ("fracture", "Suspected fracture"),
    "not fractured": ("no-fracture", "No fracture suspected"),
    "abstain": ("abstain", "No decision: not judged"),
}
_NOTE = "Research use only: not a medical device."
_OF_PHANTOMS = " The network learnt from drawn phantoms: this says nothing about a patient."

Code = tuple[str, str, str]  # value, scheme, meaning


def make_report(content: bytes, record: dict[str, Any]) -> bytes:
    """The report of an answer, as a DICOM file.

    The same image and network give the same SOP Instance UID: a report that is sent twice is one report.

    Args:
        content: the image's file.
        record: its answer, as edge-infer prints it, with a decision.

    Raises:
        ImageError: the image names no study, so no report can belong to it.
    """
    from pydicom import dcmwrite

    with silenced():
        stream = io.BytesIO()
        dcmwrite(stream, _dataset(_read(content), record), enforce_file_format=True)
        return stream.getvalue()


def accession_number(content: bytes) -> str:
    """What an image is asked for under in a clinic; empty where it does not say."""
    from pydicom import dcmread

    with silenced():
        try:
            found = dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=["AccessionNumber"])
            return str(found.get("AccessionNumber") or "")
        except Exception:  # noqa: B902 - damaged files raise nearly anything, and its text may quote a patient
            return ""


def _read(content: bytes) -> Any:
    from pydicom import dcmread

    names = [*_EMPTY_WHERE_MISSING, *_WHERE_THERE, *_OF_IMAGE]
    try:
        source = dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=names)
        complete = all(source.get(name) for name in _OF_IMAGE)
    except Exception:  # noqa: B902 - as above
        raise ImageError("its header cannot be read for a report", "unreadable") from None
    if not complete:
        raise ImageError("its header names no study, series or instance: no report can belong to it", "unsupported")
    return source


def _dataset(source: Any, record: dict[str, Any]) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    seed = [str(source.SOPInstanceUID), record["model_sha256"], str(record["threshold"])]
    uid, now = generate_uid(entropy_srcs=["report", *seed]), datetime.now()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = COMPREHENSIVE_SR, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    for name in _EMPTY_WHERE_MISSING:
        setattr(report, name, source.get(name))
    for name in _WHERE_THERE:
        if name in source:
            setattr(report, name, source.get(name))
    report.StudyInstanceUID = source.StudyInstanceUID
    given: dict[str, Any] = {
        **{"SOPClassUID": COMPREHENSIVE_SR, "SOPInstanceUID": uid, "Modality": "SR", "InstanceNumber": 1},
        **{"SeriesInstanceUID": generate_uid(entropy_srcs=["series", *seed]), "SeriesNumber": 9001},
        **{"SeriesDescription": "Fracture detection, research use only", "Manufacturer": MANUFACTURER},
        **{"ManufacturerModelName": record["model"][:64], "SoftwareVersions": __version__, "DeviceSerialNumber": "0"},
        **{"ContentDate": now.strftime("%Y%m%d"), "ContentTime": now.strftime("%H%M%S")},
        **{"CompletionFlag": "COMPLETE", "VerificationFlag": "UNVERIFIED", "PreliminaryFlag": "PRELIMINARY"},
        **{"ReferencedPerformedProcedureStepSequence": [], "PerformedProcedureCodeSequence": []},
        "CurrentRequestedProcedureEvidenceSequence": [_evidence(source)],
    }
    for name, value in given.items():
        setattr(report, name, value)
    report.update(_content(source, record, uid))
    return report


def _evidence(source: Any) -> Any:
    instance = _with(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    series = _with(SeriesInstanceUID=source.SeriesInstanceUID, ReferencedSOPSequence=[instance])
    return _with(StudyInstanceUID=source.StudyInstanceUID, ReferencedSeriesSequence=[series])


def _content(source: Any, record: dict[str, Any], uid: str) -> Any:
    """The tree: language, who observed, and one measurement group (TID 1501) about the image."""
    from pydicom.uid import generate_uid

    device_uid = generate_uid(entropy_srcs=["device", record["model_sha256"]])
    device = [
        _code_item("HAS OBS CONTEXT", ("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device")),
        _item("HAS OBS CONTEXT", "UIDREF", ("121012", "DCM", "Device Observer UID"), UID=device_uid),
        _text("HAS OBS CONTEXT", ("121013", "DCM", "Device Observer Name"), MANUFACTURER),
        _text("HAS OBS CONTEXT", ("121015", "DCM", "Device Observer Model Name"), record["model"]),
        _text("HAS OBS CONTEXT", ("121016", "DCM", "Device Observer Serial Number"), record["model_sha256"]),
    ]
    language = _code_item(
        "HAS CONCEPT MOD",
        ("121049", "DCM", "Language of Content Item and Descendants"),
        ("en-US", "RFC5646", "English (United States)"),
    )
    procedure = _code_item(
        "HAS CONCEPT MOD", ("121058", "DCM", "Procedure reported"), ("363680008", "SCT", "Radiographic imaging")
    )
    group = _container("CONTAINS", ("125007", "DCM", "Measurement Group"), _group(source, record, uid), "1501")
    measurements = _container("CONTAINS", ("126010", "DCM", "Imaging Measurements"), [group], None)
    root = ("126000", "DCM", "Imaging Measurement Report")
    return _container(None, root, [language, *device, procedure, measurements], "1500")


def _group(source: Any, record: dict[str, Any], uid: str) -> list[Any]:
    from pydicom.uid import generate_uid

    value, meaning = _DECISIONS[record["decision"]]
    note = _NOTE + (_OF_PHANTOMS if record.get("domain") == "phantom" else "")
    image = _with(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    tracking = generate_uid(entropy_srcs=["finding", uid])
    measured: list[tuple[Code, float]] = [
        (("probability", _SCHEME, "Probability of a fracture"), record["probability"]),
        (("threshold", _SCHEME, "Threshold of the decision"), record["threshold"]),
    ]
    return [
        _text("HAS OBS CONTEXT", ("112039", "DCM", "Tracking Identifier"), "fracture"),
        _item("HAS OBS CONTEXT", "UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), UID=tracking),
        _code_item("CONTAINS", ("121071", "DCM", "Finding"), ("125605004", "SCT", "Fracture of bone")),
        _item("CONTAINS", "IMAGE", ("121112", "DCM", "Source of Measurement"), ReferencedSOPSequence=[image]),
        *(_number(concept, figure) for concept, figure in measured),
        _code_item("CONTAINS", ("decision", _SCHEME, "Decision"), (value, _SCHEME, meaning)),
        _text("CONTAINS", ("121106", "DCM", "Comment"), f"{record['reason']}. {note}"),
    ]


def _number(concept: Code, figure: float) -> Any:
    unit = _coded(("1", "UCUM", "no units"))
    measured = _with(NumericValue=f"{figure:.6f}", MeasurementUnitsCodeSequence=[unit])
    return _item("CONTAINS", "NUM", concept, MeasuredValueSequence=[measured])


def _code_item(relation: str, concept: Code, value: Code) -> Any:
    return _item(relation, "CODE", concept, ConceptCodeSequence=[_coded(value)])


def _text(relation: str, concept: Code, value: str) -> Any:
    return _item(relation, "TEXT", concept, TextValue=value)


def _container(relation: str | None, concept: Code, items: list[Any], template: str | None) -> Any:
    container = _item(relation, "CONTAINER", concept, ContinuityOfContent="SEPARATE", ContentSequence=items)
    if template is not None:
        container.ContentTemplateSequence = [_with(MappingResource="DCMR", TemplateIdentifier=template)]
    return container


def _item(relation: str | None, kind: str, concept: Code, **elements: Any) -> Any:
    related = {} if relation is None else {"RelationshipType": relation}
    return _with(**related, ValueType=kind, ConceptNameCodeSequence=[_coded(concept)], **elements)


def _coded(code: Code) -> Any:
    value, scheme, meaning = code
    return _with(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _with(**elements: Any) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset
