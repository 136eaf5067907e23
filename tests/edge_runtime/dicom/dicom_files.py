"""DICOM files for tests: small radiographs with any elements, in any compression; names planted where any may stand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pydicom.uid
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

CANARY = "KANARIENVOGEL"
DIGITAL_XRAY = pydicom.uid.DigitalXRayImageStorageForPresentation
UNCOMPRESSED = (
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
)
# Elements that say who the patient is, or who had to do with them (PS3.15, table E.1-1).
NAMING_ELEMENTS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientNames", "PatientBirthName", "PatientComments"),
    *("PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "PatientReligiousPreference"),
    *("EthnicGroup", "Occupation", "AdditionalPatientHistory", "MedicalRecordLocator", "MilitaryRank"),
    *("BranchOfService", "CountryOfResidence", "RegionOfResidence", "ResponsiblePerson", "ResponsibleOrganization"),
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "AccessionNumber"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName"),
    *("RequestingPhysician", "StudyDescription", "SeriesDescription", "ProtocolName", "StudyID", "ImageComments"),
    *("AdmissionID", "DeviceSerialNumber", "RequestedProcedureDescription", "DerivationDescription"),
)


def radiograph(shape: tuple[int, int] = (48, 40), bits: int = 12, seed: int = 0) -> NDArray[np.uint16]:
    """Stored values of something smooth with grain, from near 0 to near the top of the range."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
    smooth = np.exp(-(((columns - 0.4) / 0.15) ** 2)) * (0.6 + 0.4 * np.sin(7 * rows))
    values = np.clip(smooth + rng.normal(0, 0.02, shape), 0, 1) * (2**bits - 1)
    return values.astype(np.uint16)


def make_dataset(stored: NDArray[Any], bits: int = 12, **elements: Any) -> FileDataset:
    """An uncompressed digital X-ray with these stored values; elements of the value None are left out."""
    allocated = stored.dtype.itemsize * 8
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = elements.get("SOPClassUID") or DIGITAL_XRAY
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    colours = 3 if stored.ndim == 3 and stored.shape[2] == 3 else 1
    given = {
        **{"SOPClassUID": DIGITAL_XRAY, "SOPInstanceUID": "1.2.3.4", "Modality": "DX", "SamplesPerPixel": colours},
        **{"PhotometricInterpretation": "RGB" if colours == 3 else "MONOCHROME2"},
        **{"Rows": stored.shape[0], "Columns": stored.shape[1], "BitsAllocated": allocated, "BitsStored": bits},
        **{"HighBit": bits - 1, "PixelRepresentation": int(stored.dtype.kind == "i")},
        **({"PlanarConfiguration": 0} if colours == 3 else {}),
        **elements,
    }
    for keyword, value in given.items():
        if value is not None:
            setattr(ds, keyword, value)
    ds.PixelData = stored.tobytes()
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return ds


def to_bytes(ds: FileDataset) -> bytes:
    """The file."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def dicom_bytes(stored: NDArray[Any], bits: int = 12, **elements: Any) -> bytes:
    """An uncompressed digital X-ray as a file."""
    return to_bytes(make_dataset(stored, bits, **elements))


def lut(first: int, values: NDArray[np.uint16], bits: int = 16) -> Dataset:
    """One item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", values.tolist())
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    return item


def compressed(ds: FileDataset, syntax: str) -> FileDataset:
    """The same image in another transfer syntax."""
    if syntax == pydicom.uid.JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(np.frombuffer(ds.PixelData, np.uint8).reshape(ds.Rows, ds.Columns)).save(
            stream, "JPEG", quality=95
        )
        return encapsulated(ds, syntax, [stream.getvalue()])
    if syntax == pydicom.uid.JPEGLosslessSV1:
        return _lossless_jpeg(ds)
    if syntax in UNCOMPRESSED:
        ds.file_meta.TransferSyntaxUID = syntax
        return ds
    ds.compress(syntax, encoding_plugin={"JPEG-LS": "pyjpegls", "RLE Los": "pydicom"}.get(syntax.name[:7], ""))
    return ds


def encapsulated(ds: FileDataset, syntax: str, frames: list[bytes]) -> FileDataset:
    """The dataset with compressed frames in place of its pixels."""
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def _lossless_jpeg(ds: FileDataset) -> FileDataset:
    """By gdcm, the one encoder of it."""
    import tempfile

    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, small = f"{folder}/plain.dcm", f"{folder}/small.dcm"
        with open(plain, "wb") as stream:
            stream.write(to_bytes(ds))
        reader = gdcm.ImageReader()
        reader.SetFileName(plain)
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError("gdcm did not compress")
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(small)
        writer.Write()
        return pydicom.dcmread(small)


def plant_canaries(ds: FileDataset) -> int:
    """Writes the canary into every element that may name somebody, private and nested ones too: how many."""
    for number, keyword in enumerate(NAMING_ELEMENTS):
        value = f"{CANARY}{number}"
        vr = pydicom.datadict.dictionary_VR(pydicom.datadict.tag_for_keyword(keyword))
        ds.add_new(keyword, vr, value[:16] if vr in ("SH", "CS") else value)
    block = ds.private_block(0x0009, f"{CANARY} CREATOR", create=True)
    block.add_new(0x01, "LO", f"{CANARY} private")
    block.add_new(0x02, "UN", f"{CANARY} unknown".encode())
    nested = Dataset()
    nested.PatientName, nested.PatientID = f"{CANARY}^Nested", f"{CANARY}-nested"
    ds.OtherPatientIDsSequence = [nested]
    ds.PatientBirthDate, ds.StudyDate = "18990101", "18990102"
    return len(NAMING_ELEMENTS) + 4
