"""An answer as DICOM Structured Report: TID 1500 "Measurement Report" (PS3.16), in the study of its image."""

from __future__ import annotations

from typing import Any

from edge_runtime.serving.node.belonging import MANUFACTURER, Kind, new_document, read_header, written

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
_KIND = Kind(COMPREHENSIVE_SR, "SR", 9001, ("report", "series"))
_SCHEME = "99FRACTEDGE"  # of codes that no published scheme has
_DECISIONS = {
    "fractured": ("fracture", "Suspected fracture"),
    "not fractured": ("no-fracture", "No fracture suspected"),
    "abstain": ("abstain", "No decision"),
}
_NOTE = "Research use only: not a medical device."
_OF_PHANTOMS = " The network learnt from drawn phantoms: this says nothing about a patient."

Code = tuple[str, str, str]  # value, scheme, meaning


def make_report(content: bytes, record: dict[str, Any]) -> bytes:
    """The report of an answer, as a DICOM file.

    Args:
        content: the image's file.
        record: its answer, as edge-infer prints it, with a decision.

    Raises:
        ImageError: the image names no study, so no report can belong to it.
    """
    source = read_header(content)
    report = new_document(_KIND, source, record)
    report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    report.ReferencedPerformedProcedureStepSequence, report.PerformedProcedureCodeSequence = [], []
    report.CurrentRequestedProcedureEvidenceSequence = [_evidence(source)]
    report.update(_content(source, record, report.SOPInstanceUID))
    return written(report)


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
