"""Peers of the node: images with a study around them, senders by pynetdicom and dcmtk, and a receiver of reports."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from tests.edge_runtime.dicom.dicom_files import DIGITAL_XRAY, make_dataset, radiograph

PATIENT = "Mueller^Jürgen"
ANSWER_S = 60


def instance(number: int, shape: tuple[int, int] = (48, 40)) -> FileDataset:
    """A radiograph in a study of its own."""
    uid = generate_uid(entropy_srcs=["instance", str(number)])
    ds = make_dataset(
        radiograph(shape, seed=number),
        SpecificCharacterSet="ISO_IR 100",
        SOPInstanceUID=uid,
        StudyInstanceUID=generate_uid(entropy_srcs=["study", str(number)]),
        SeriesInstanceUID=generate_uid(entropy_srcs=["series", str(number)]),
        PatientName=PATIENT,
        PatientID=f"ID{number}",
        PatientBirthDate="19700101",
        PatientSex="O",
        AccessionNumber=f"ACC{number}",
        StudyID="1",
        StudyDate="20260102",
        StudyTime="101010",
    )
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    return ds


def node_port(server, title: str = "EDGE") -> int:
    """The port that the server tells."""
    line = next(line for line in server.lines if line.startswith(f"DICOM node {title} on "))
    return int(re.search(r":(\d+)", line)[1])


def send(
    port: int, datasets: Iterable[FileDataset], calling: str = "MODALITY", called: str = "EDGE"
) -> list[int | None]:
    """Statuses of C-STORE, None where there was no answer; empty where the association was refused."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = 30
    entity.add_requested_context(DIGITAL_XRAY)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return []
    association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as dcmtk does
    statuses: list[int | None] = []
    try:
        for dataset in datasets:
            if not association.is_established:
                statuses.append(None)
                continue
            status = association.send_c_store(dataset)
            statuses.append(status.Status if "Status" in status else None)
    except (RuntimeError, ValueError):
        statuses.append(None)
    finally:
        connection = association.dul.socket
        if association.is_established:
            association.release()
        if connection is not None and connection.socket is not None:
            connection.socket.close()  # pynetdicom leaves it open where the other side was killed
    return statuses


def wait_until(condition: Callable[[], bool], seconds: float = ANSWER_S) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def items(server) -> list[dict]:
    """Today's items of the node."""
    with server.client() as client:
        return [item for item in client.get("/v1/results").json()["items"] if item["source"] == "dicom"]


def dcmtk(program: str) -> str:
    """A program of dcmtk; skips, saying so, where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"SKIPPED LOUDLY: {program} of dcmtk is not installed (Debian: apt install dcmtk)")
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def receiving(folder: Path, port: int) -> Iterator[Path]:
    """dcmtk's storescp, which keeps what it gets."""
    folder.mkdir(exist_ok=True)
    command = [dcmtk("storescp"), "--aetitle", "ARCHIVE", "--output-directory", folder, port]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        process.terminate()
        process.wait(30)
