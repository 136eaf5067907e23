"""Orthanc of Debian as the clinic's archive: it sends to the node, and gets report and picture back into the study."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.edge_runtime.dicom.dicom_files import to_bytes
from tests.edge_runtime.serving.node.peers import PATIENT, free_port, instance, items, wait_until

SHIPPED = Path(__file__).parents[4] / "edge_runtime" / "model"  # has a heatmap


@contextmanager
def orthanc(folder: Path, dicom_port: int, edge_port: int) -> Iterator[httpx.Client]:
    """The archive, which knows the node as `edge`; a client of its REST interface."""
    program = shutil.which("Orthanc") or shutil.which("/usr/sbin/Orthanc")
    if program is None:
        pytest.skip("SKIPPED LOUDLY: Orthanc is not installed (Debian: apt install orthanc)")
    http_port = free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "HttpPort": http_port,
        "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomPort": dicom_port,
        "DicomModalities": {"edge": ["EDGE", "127.0.0.1", edge_port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60, trust_env=False) as client:
            wait_until(lambda: answers(client))
            yield client
    finally:
        process.terminate()
        process.wait(60)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_the_archive_sends_to_the_node_and_gets_report_and_picture_back(start_server, tmp_path):
    dicom_port, edge_port = free_port(), free_port()
    with orthanc(tmp_path, dicom_port, edge_port) as archive:
        node = ("--dicom-port", edge_port, "--dicom-allow", "ORTHANC", "--forward", f"ORTHANC@127.0.0.1:{dicom_port}")
        server = start_server(*node, "--forward-as", "both", bundle=SHIPPED)
        assert archive.post("/modalities/edge/echo").status_code == 200
        radiographs = [instance(number, (300, 240)) for number in (1, 2)]
        kept = [archive.post("/instances", content=to_bytes(one)).json() for one in radiographs]
        sent = archive.post("/modalities/edge/store", json=[one["ID"] for one in kept])
        assert sent.status_code == 200 and sent.json()["FailedInstancesCount"] == 0
        wait_until(lambda: len(archive.get("/instances").json()) == 6)
        for radiograph, one in zip(radiographs, kept, strict=True):
            study = archive.get(f"/studies/{one['ParentStudy']}").json()
            assert study["PatientMainDicomTags"]["PatientName"] == PATIENT
            series = [archive.get(f"/series/{name}").json() for name in study["Series"]]
            made = {one["MainDicomTags"]["Modality"]: one["Instances"][0] for one in series}
            assert set(made) == {radiograph.Modality, "SR", "OT"}
            report = archive.get(f"/instances/{made['SR']}/simplified-tags").json()
            assert report["CompletionFlag"] == "COMPLETE" and report["PreliminaryFlag"] == "PRELIMINARY"
            picture = archive.get(f"/instances/{made['OT']}/preview")  # its own decoder
            assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
            back = archive.post("/modalities/edge/store", json=[made["OT"]])  # as a rule of routing may do
            assert back.status_code == 200
        wait_until(lambda: sorted(item["state"] for item in items(server)) == ["answered"] * 2 + ["failed"] * 2)
        assert server.stop() == 0
        assert len(archive.get("/instances").json()) == 6
