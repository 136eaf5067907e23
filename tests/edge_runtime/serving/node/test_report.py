"""Reports: what highdicom reads in them, what they copy, and that one answer is one report."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread

from edge_runtime.errors import ImageError
from edge_runtime.serving.node.report import make_report
from tests.edge_runtime.dicom.dicom_files import NAMING_ELEMENTS, to_bytes
from tests.edge_runtime.serving.node.peers import instance

RECORD = {
    **{"decision": "fractured", "probability": 0.8125, "threshold": 0.5, "domain": "radiograph"},
    **{"model": "network/model_int8.tflite", "model_sha256": "ab" * 32, "reason": "probability at or above threshold"},
}
COPIED = {"PatientName", "PatientID", "AccessionNumber", "StudyID", "StudyDescription", "IssuerOfPatientID"}


def report(number: int = 1, **changed):
    return dcmread(io.BytesIO(make_report(to_bytes(instance(number)), RECORD | changed)))


def test_highdicom_reads_a_measurement_report():
    highdicom = pytest.importorskip("highdicom", reason="SKIPPED LOUDLY: highdicom, which checks reports, is missing")
    found = highdicom.sr.ComprehensiveSR.from_dataset(report())
    assert isinstance(found.content, highdicom.sr.MeasurementReport)
    (group,) = found.content.get_image_measurement_groups()
    assert group.tracking_identifier == "fracture" and group.finding_type.value == "125605004"
    figures = {one.name.meaning: one.value for one in group.get_measurements()}
    assert figures == {"Probability of a fracture": 0.8125, "Threshold of the decision": 0.5}
    (decision,) = group.get_qualitative_evaluations()
    assert decision.value.meaning == "Suspected fracture"
    (language,) = (item for item in found.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121049")
    assert language.ConceptCodeSequence[0].CodeValue == "en-US"


@pytest.mark.parametrize("decision", ["fractured", "not fractured", "abstain"])
def test_every_decision_has_its_words_and_the_note(decision):
    made = report(decision=decision, domain="phantom")
    found = [item.get("TextValue") or "" for item in made.ContentSequence[-1].ContentSequence[0].ContentSequence]
    text = f"{made} {' '.join(found)}"
    assert "Research use only" in text and "drawn phantoms" in text
    assert {"fractured": "Suspected", "not fractured": "No fracture", "abstain": "No decision"}[decision] in text


def test_the_same_answer_is_the_same_report_and_another_is_another():
    assert report().SOPInstanceUID == report().SOPInstanceUID
    others = [report(2), report(model_sha256="cd" * 32), report(threshold=0.25)]
    assert len({report().SOPInstanceUID, *(other.SOPInstanceUID for other in others)}) == 4


def test_of_a_patient_it_copies_what_a_report_needs_and_no_more():
    source = instance(3)
    for name in NAMING_ELEMENTS:
        if name not in COPIED and not hasattr(source, name):
            setattr(source, name, "KANARIENVOGEL")
    made = make_report(to_bytes(source), RECORD)
    allowed = source.get("ReferringPhysicianName")
    assert made.count(b"KANARIENVOGEL") == (1 if allowed == "KANARIENVOGEL" else 0)
    assert dcmread(io.BytesIO(made)).PatientName == source.PatientName


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_a_study_has_no_report(missing):
    source = instance(4)
    delattr(source, missing)
    with pytest.raises(ImageError, match="no study"):
        make_report(to_bytes(source), RECORD)
    with pytest.raises(ImageError):
        make_report(b"nothing", RECORD)
