"""Patients are told apart by a hash that says nothing, and pixels never bring a name along."""

from __future__ import annotations

import dataclasses

import pytest

from edge_runtime.dicom import read_dicom
from edge_runtime.dicom.files import read_elements
from edge_runtime.dicom.patients import patient_key
from edge_runtime.dicom.read import _ELEMENTS
from tests.edge_runtime.dicom.dicom_files import (
    CANARY,
    dicom_bytes,
    make_dataset,
    plant_canaries,
    radiograph,
    to_bytes,
)

SALT, OTHER_SALT = bytes(32), bytes([1]) * 32
LEAST_CANARIES = 30


def key(salt: bytes = SALT, **elements: str) -> str | None:
    return patient_key(dicom_bytes(radiograph(), **elements), salt)


def test_one_patient_has_one_key_and_two_have_two() -> None:
    assert key(PatientID="17") == key(PatientID=" 17 ", PatientName="Somebody^Else")
    assert key(PatientID="17") != key(PatientID="18")
    assert key(PatientID="17", IssuerOfPatientID="A") != key(PatientID="17", IssuerOfPatientID="B")


def test_a_key_cannot_be_found_without_its_salt() -> None:
    assert key(PatientID="17") != key(OTHER_SALT, PatientID="17")
    assert "17" != key(PatientID="17")


@pytest.mark.parametrize("patient", ["", "0", "ANONYMOUS", "anon", "De-Identified"])
def test_a_number_that_everybody_has_is_no_patient(patient: str) -> None:
    assert key(PatientID=patient) is None


def test_what_cannot_be_read_is_no_patient() -> None:
    assert patient_key(b"no dicom", SALT) is None


def test_names_are_dropped_while_reading() -> None:
    ds = make_dataset(radiograph(), BurnedInAnnotation="YES")
    assert plant_canaries(ds) >= LEAST_CANARIES
    data = to_bytes(ds)
    assert data.count(CANARY.encode()) >= LEAST_CANARIES
    assert CANARY not in str(read_elements(data, "x", _ELEMENTS, pixels=True))
    assert CANARY not in str(dataclasses.asdict(read_dicom(data, "x")))
    assert CANARY not in (patient_key(data, SALT) or CANARY)
