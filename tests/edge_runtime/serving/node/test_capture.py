"""Secondary captures: what others read in them, and that none of ours is judged when an archive sends it back."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from edge_runtime import Predictor
from edge_runtime.errors import ImageError
from edge_runtime.limits import DEFAULT_LIMITS
from edge_runtime.serving.node.belonging import is_own
from edge_runtime.serving.node.capture import SECONDARY_CAPTURE, SIDE, make_capture
from edge_runtime.serving.node.report import COMPREHENSIVE_SR
from tests.edge_runtime.dicom.dicom_files import NAMING_ELEMENTS, to_bytes
from tests.edge_runtime.serving.node.peers import (
    PATIENT,
    dcmtk,
    free_port,
    instance,
    items,
    node_port,
    receiving,
    send,
    wait_until,
)

SHIPPED = Path(__file__).parents[4] / "edge_runtime" / "model"  # has a heatmap


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(SHIPPED)


def capture(shipped: Predictor, source, **changed):
    content = to_bytes(source)
    record = shipped.predict(content, heatmap=True).to_dict() | changed
    return make_capture(content, record, DEFAULT_LIMITS)


def test_dcmtk_shows_the_radiograph_with_answer_and_heatmap(shipped, tmp_path):
    source = instance(1, (300, 240))
    corner = {"rows": 2, "columns": 2, "values": [0.0, 0.0, 0.0, 1.0], "region": [0.0, 0.0, 1.0, 1.0]}
    (tmp_path / "capture.dcm").write_bytes(capture(shipped, source, heatmap=corner))
    (tmp_path / "plain.dcm").write_bytes(capture(shipped, source, heatmap=None))
    pictures = []
    for name in ("capture", "plain"):
        done = subprocess.run(
            [dcmtk("dcm2pnm"), tmp_path / f"{name}.dcm", tmp_path / f"{name}.ppm"], capture_output=True, text=True
        )
        assert done.returncode == 0 and "W:" not in done.stderr and "E:" not in done.stderr, done.stderr
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.ppm").convert("RGB"), np.int16))
    shown, plain = pictures
    words = plain.shape[0] - 300
    assert shown.shape[1] == 240 and words > 20 and shown.shape[0] > plain.shape[0]  # scale and words below the map
    assert (plain[..., 0] == plain[..., 2]).all() and (plain[:words] > 200).any()  # grey, and white words
    colour = shown[words : words + 300, :, 0] - shown[words : words + 300, :, 2]
    assert colour[250:, 200:].mean() > 20 > 5 > colour[:50, :40].mean()  # the map lies where it should


def test_it_belongs_to_patient_and_study_and_names_nobody_else(shipped):
    source = instance(2)
    source.BurnedInAnnotation = "YES"
    for name in NAMING_ELEMENTS:
        if not hasattr(source, name):
            setattr(source, name, "KANARIENVOGEL")
    made = capture(shipped, source)
    found = dcmread(io.BytesIO(made))
    assert found.SOPClassUID == SECONDARY_CAPTURE and found.PatientName == PATIENT
    assert found.StudyInstanceUID == source.StudyInstanceUID and found.SeriesInstanceUID != source.SeriesInstanceUID
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert found.ImageType == ["DERIVED", "SECONDARY"] and found.BurnedInAnnotation == "YES"
    copied = [element for element in found.iterall() if element.value == "KANARIENVOGEL"]
    assert {element.keyword for element in copied} <= {
        *("StudyDescription", "IssuerOfPatientID", "ReferringPhysicianName", "StudyID", "AccessionNumber")
    }
    again = dcmread(io.BytesIO(capture(shipped, source)))
    assert again.SOPInstanceUID == found.SOPInstanceUID


def test_a_large_radiograph_becomes_a_picture_that_archives_take(shipped):
    found = dcmread(io.BytesIO(capture(shipped, instance(3, (2600, 2000)))))
    assert found.Columns == round(2000 * SIDE / 2600) and len(found.PixelData) < 5 << 20


def test_an_image_without_a_study_has_no_capture(shipped):
    source = instance(4)
    del source.StudyInstanceUID
    with pytest.raises(ImageError, match="no study"):
        capture(shipped, source)


def test_reports_and_captures_are_sent_on_and_what_comes_back_is_not_judged(start_server, tmp_path):
    port = free_port()
    with receiving(tmp_path / "archive", port) as archive:
        server = start_server(
            *("--dicom-port", 0, "--forward", f"ARCHIVE@127.0.0.1:{port}", "--forward-as", "both"), bundle=SHIPPED
        )
        assert send(node_port(server), [instance(5)]) == [0]
        wait_until(lambda: len(list(archive.iterdir())) == 2)
        wait_until(lambda: not list((tmp_path / "state" / "outbox").iterdir()))
        kinds = {dcmread(path).SOPClassUID: path for path in archive.iterdir()}
        assert set(kinds) == {COMPREHENSIVE_SR, SECONDARY_CAPTURE}
        ours = kinds[SECONDARY_CAPTURE]
        assert is_own(ours.read_bytes()) and not is_own(to_bytes(instance(6)))
        given = [dcmtk("storescu"), "--call", "EDGE", "127.0.0.1", node_port(server), ours]
        subprocess.run(list(map(str, given)), check=True)
        wait_until(lambda: len(items(server)) == 2 and items(server)[0]["state"] == "failed")
        assert "made by this program" in items(server)[0]["result"]["error"]["message"]
        assert server.stop() == 0
        assert len(list(archive.iterdir())) == 2
