"""DICOM files become the grey that pydicom's own pipeline makes of them, in every compression, and nothing worse."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.uid
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from edge_runtime.dicom import read_dicom
from edge_runtime.dicom.files import MOST_FILE_BYTES
from edge_runtime.errors import EdgeError, ImageError
from tests.edge_runtime.dicom.dicom_files import (
    compressed,
    dicom_bytes,
    encapsulated,
    lut,
    make_dataset,
    radiograph,
    to_bytes,
)

PIPELINE_TOLERANCE = 1  # grey level: rounding here, in place of cutting off elsewhere
JPEG_TOLERANCE = 14  # grey levels, of a grainy image at Pillow's default quality
LOSSLESS = (
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
    pydicom.uid.RLELossless,
    pydicom.uid.JPEGLosslessSV1,
    pydicom.uid.JPEGLSLossless,
    pydicom.uid.JPEG2000Lossless,
)
REAL = sorted(Path(os.environ["EDGE_DICOM"]).glob("*.dcm")) if os.environ.get("EDGE_DICOM") else []


def by_pydicom(data: bytes) -> NDArray[np.float64]:
    """Grey 0 to 255 by pydicom alone: its pixels, modality LUT and VOI LUT, scaled over the range of their output."""
    ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
    low, high = 0, 2**ds.BitsStored - 1
    if ds.PixelRepresentation:
        low, high = -(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1
    ends = apply_modality_lut(np.array([low, high], ds.pixel_array.dtype), ds).astype(float)
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        if sequence in ds:
            ends = np.array([0.0, 2.0 ** ds[sequence].value[0].LUTDescriptor[2] - 1])
    values = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds).astype(float)
    grey = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1) * 255
    return 255 - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey


def assert_as_pydicom(data: bytes) -> None:
    found = read_dicom(data, "x.dcm").grey_u8
    assert found.dtype == np.uint8
    assert np.ptp(found) > 50  # an image, not a grey field that is easily equal
    assert np.max(np.abs(found - by_pydicom(data))) <= PIPELINE_TOLERANCE


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 15, 16])
def test_every_depth_is_scaled_by_its_stored_bits(bits: int, photometric: str) -> None:
    stored = radiograph(bits=bits).astype(np.uint8 if bits == 8 else np.uint16)
    data = dicom_bytes(stored, bits, PhotometricInterpretation=photometric)
    assert_as_pydicom(data)
    assert (read_dicom(data, "x").depth, read_dicom(data, "x").depth_from) == (bits, "DICOM BitsStored")


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 1500, "WindowWidth": 1800},
        {"WindowCenter": [1500, 300], "WindowWidth": [1800, 100]},
        {"WindowCenter": 1500, "WindowWidth": 1800, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 1500, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 1500, "WindowWidth": 1800, "PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": 700, "WindowWidth": 2600, "RescaleSlope": 0.5, "RescaleIntercept": -100},
        {"RescaleSlope": 2, "RescaleIntercept": 7},
        {"ModalityLUTSequence": [lut(0, np.arange(4096, dtype=np.uint16)[::-1] * 16)]},
        {"VOILUTSequence": [lut(0, (np.linspace(0, 1, 4096) ** 0.5 * 65535).astype(np.uint16))]},
        {"VOILUTSequence": [lut(500, np.linspace(0, 1023, 3000).astype(np.uint16), 10)], "WindowCenter": 9},
    ],
    ids=lambda elements: "-".join(elements),
)
def test_window_rescale_and_luts_are_those_of_pydicom(elements: dict[str, Any]) -> None:
    assert_as_pydicom(dicom_bytes(radiograph(), **elements))


def test_signed_values_are_judged_over_their_signed_range() -> None:
    stored = radiograph().astype(np.int16) - 2048
    assert_as_pydicom(dicom_bytes(stored, WindowCenter=0, WindowWidth=3000))
    assert_as_pydicom(dicom_bytes(stored))


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_lossless_compressions_give_the_uncompressed_image(syntax: pydicom.uid.UID, bits: int) -> None:
    stored = radiograph(bits=bits).astype(np.uint8 if bits == 8 else np.uint16)
    expected = read_dicom(dicom_bytes(stored, bits), "x").grey_u8
    found = read_dicom(to_bytes(compressed(make_dataset(stored, bits), syntax)), "x").grey_u8
    np.testing.assert_array_equal(found, expected)


def test_big_endian_files_are_read() -> None:
    ds = make_dataset(radiograph().astype(">u2"))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    np.testing.assert_array_equal(
        read_dicom(to_bytes(ds), "x").grey_u8, read_dicom(dicom_bytes(radiograph()), "x").grey_u8
    )


def test_jpeg_baseline_is_near_the_uncompressed_image() -> None:
    stored = radiograph(bits=8).astype(np.uint8)
    data = to_bytes(compressed(make_dataset(stored, 8), pydicom.uid.JPEGBaseline8Bit))
    assert np.max(np.abs(read_dicom(data, "x").grey_u8.astype(int) - stored)) <= JPEG_TOLERANCE


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE", None])
def test_an_image_is_inverted_once_however_often_it_says_so(photometric: str, shape: str | None) -> None:
    data = dicom_bytes(radiograph(), PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    inverted = photometric == "MONOCHROME1" or shape == "INVERSE"
    plain = read_dicom(dicom_bytes(radiograph()), "x").grey_u8
    found = read_dicom(data, "x")
    expected = 255 - plain.astype(int) if inverted else plain
    assert np.max(np.abs(found.grey_u8 - expected)) <= PIPELINE_TOLERANCE
    assert bool(found.warnings) == (photometric == "MONOCHROME1" and shape == "IDENTITY")


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_whatever_its_value(photometric: str) -> None:
    stored = radiograph()
    stored[:, :7], stored[:, 7:9] = 4095, 4094
    shared = {"PhotometricInterpretation": photometric}
    padded = read_dicom(dicom_bytes(stored, PixelPaddingValue=4095, PixelPaddingRangeLimit=4094, **shared), "x").grey_u8
    bare = read_dicom(dicom_bytes(stored, **shared), "x").grey_u8
    assert not padded[:, :9].any()
    outside = stored[:, 9:] < 4094
    np.testing.assert_array_equal(padded[:, 9:][outside], bare[:, 9:][outside])


def test_colours_of_a_secondary_capture_become_luma() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    np.testing.assert_array_equal(read_dicom(dicom_bytes(rgb, 8, Modality="OT"), "x").grey_u8, luma)


@pytest.mark.parametrize("path", REAL or [None], ids=lambda path: path.name if path else "EDGE_DICOM is unset")
def test_real_files_are_those_of_pydicom(path: Path | None) -> None:
    if path is None:
        pytest.skip("EDGE_DICOM is unset: no real DICOM files")
    assert_as_pydicom(path.read_bytes())


def error_of(data: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_dicom(data, "x.dcm", **options)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "NM", "MG"])
def test_other_modalities_are_refused_by_name(modality: str) -> None:
    error = error_of(dicom_bytes(radiograph(), Modality=modality))
    assert (error.code, modality in str(error)) == ("unsupported", True)


def test_a_ct_is_known_by_its_class_too() -> None:
    data = dicom_bytes(radiograph(), Modality=None, SOPClassUID=pydicom.uid.CTImageStorage)
    assert "CT Image Storage" in str(error_of(data))


def test_a_modality_that_is_no_code_is_not_repeated() -> None:
    assert "SMITH" not in str(error_of(dicom_bytes(radiograph(), Modality="SMITH JOHN")))


def test_what_holds_no_image_is_refused() -> None:
    ds = make_dataset(radiograph(), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    del ds.PixelData
    assert "Basic Text SR" in str(error_of(to_bytes(ds)))


def test_one_of_several_frames_is_chosen_by_number() -> None:
    frames = np.stack([radiograph(seed=seed) for seed in range(3)])
    ds = make_dataset(frames[0], NumberOfFrames=3)
    ds.PixelData = frames.tobytes()
    assert "--frame" in str(error_of(to_bytes(ds)))
    assert error_of(to_bytes(ds), frame=4).code == "unsupported"
    expected = read_dicom(dicom_bytes(frames[1]), "x").grey_u8
    np.testing.assert_array_equal(read_dicom(to_bytes(ds), "x", frame=2).grey_u8, expected)


@pytest.mark.parametrize(
    ("elements", "word"),
    [({"BurnedInAnnotation": "YES"}, "burned"), ({"PresentationIntentType": "FOR PROCESSING"}, "raw")],
)
def test_doubtful_images_are_judged_with_a_warning(elements: dict[str, str], word: str) -> None:
    assert word in " ".join(read_dicom(dicom_bytes(radiograph(), **elements), "x").warnings)
    assert read_dicom(dicom_bytes(radiograph()), "x").warnings == ()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4.5"])
def test_a_syntax_that_nothing_decodes_is_named(syntax: str) -> None:
    error = error_of(to_bytes(encapsulated(make_dataset(radiograph()), syntax, [b"\0" * 64])))
    assert (error.code, syntax in str(error)) == ("unsupported", True)


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 100, "WindowWidth": 0},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"VOILUTSequence": [lut(0, np.zeros(0, np.uint16))]},
        {"PhotometricInterpretation": "SMITH"},
        {"BitsStored": 40},
        {"BitsAllocated": 32},
        {"SamplesPerPixel": 2},
        {"Rows": 0},
    ],
    ids=str,
)
def test_elements_that_make_no_image_are_an_image_error(elements: dict[str, Any]) -> None:
    assert error_of(dicom_bytes(radiograph(), **elements)).code in ("unreadable", "unsupported")


def test_an_empty_window_is_as_good_as_none() -> None:
    data = dicom_bytes(radiograph(), WindowCenter=[], WindowWidth=[])
    np.testing.assert_array_equal(read_dicom(data, "x").grey_u8, read_dicom(dicom_bytes(radiograph()), "x").grey_u8)


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, *LOSSLESS], ids=lambda syntax: syntax.name)
def test_a_truncated_file_is_an_image_error(syntax: pydicom.uid.UID) -> None:
    data = to_bytes(compressed(make_dataset(radiograph()), syntax))
    for share in (0.35, 0.6, 0.9):
        assert error_of(data[: int(len(data) * share)]).code in ("truncated", "unreadable", "unsupported")


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded() -> None:
    ds = make_dataset(radiograph(), Rows=65535, Columns=65535)
    assert error_of(to_bytes(ds)).code == "too_large"
    assert error_of(dicom_bytes(radiograph()), most_bytes=1000).code == "too_large"


def test_a_file_of_more_bytes_than_allowed_is_refused() -> None:
    assert error_of(dicom_bytes(radiograph()) + bytes(MOST_FILE_BYTES)).code == "too_large"


@pytest.mark.parametrize("syntax", LOSSLESS[2:], ids=lambda syntax: syntax.name)
def test_a_frame_larger_than_its_header_says_is_refused(syntax: pydicom.uid.UID) -> None:
    ds = compressed(make_dataset(radiograph((400, 300))), syntax)
    ds.Rows, ds.Columns = 40, 30
    assert error_of(to_bytes(ds)).code == "unreadable"


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, *LOSSLESS], ids=lambda syntax: syntax.name)
def test_damage_ends_as_an_answer_or_an_image_error(syntax: pydicom.uid.UID) -> None:
    rng, whole = random.Random(0), to_bytes(compressed(make_dataset(radiograph()), syntax))
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(132, len(data))] = rng.randrange(256)
        try:
            read_dicom(bytes(data), "x")
        except EdgeError:
            refused += 1
    assert refused
