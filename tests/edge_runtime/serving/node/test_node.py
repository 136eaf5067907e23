"""The DICOM node with real peers: who may send, each instance once whatever is killed, reports that others read."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt

from edge_runtime.serving.node.report import COMPREHENSIVE_SR
from tests.edge_runtime.serving.conftest import command
from tests.edge_runtime.serving.node.peers import (
    dcmtk,
    free_port,
    instance,
    items,
    node_port,
    receiving,
    send,
    wait_until,
)

NODE = ("--dicom-port", 0)
ANSWERED_S = 60
REFUSED: list = []  # no association


def test_an_instance_is_judged_once_however_often_it_comes(start_server, tmp_path):
    server = start_server(*NODE, "--show-identifiers")
    port = node_port(server)
    assert send(port, [instance(1), instance(2), instance(1)]) == [0, 0, 0]
    wait_until(lambda: len([item for item in items(server) if item["state"] == "answered"]) == 2)
    assert send(port, [instance(1)]) == [0]
    assert [item["identifiers"]["name"] for item in items(server)] == ["ACC2", "ACC1"]
    assert not list((tmp_path / "state" / "originals").iterdir())  # purged once answered
    with server.client() as client:
        assert 'edge_answers_total{source="dicom"' in client.get("/metrics").text
    assert server.stop() == 0
    content = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"rgen" not in content and b"ID1" not in content


def test_without_identifiers_nothing_leads_to_a_patient(start_server, tmp_path):
    server = start_server(*NODE)
    dataset = instance(3)
    assert send(node_port(server), [dataset]) == [0]
    wait_until(lambda: items(server) and items(server)[0]["state"] == "answered")
    assert items(server)[0]["identifiers"] is None
    server.stop()
    content = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for word in (b"rgen", b"ACC3", b"ID3", dataset.SOPInstanceUID.encode(), dataset.StudyInstanceUID.encode()):
        assert word not in content, word
    assert not any("ACC3" in line or dataset.SOPInstanceUID in line for line in server.lines)


def test_what_is_no_radiograph_gets_its_error_and_the_next_its_answer(start_server):
    server = start_server(*NODE)
    broken = instance(4)
    broken.PixelData = broken.PixelData[:100]
    assert send(node_port(server), [broken, instance(5)]) == [0, 0]
    wait_until(lambda: [item["state"] for item in items(server)] == ["answered", "failed"])


@pytest.mark.parametrize(
    ("allowed", "calling", "called", "statuses"),
    [
        ((), "ANYONE", "EDGE", [0]),
        ((), "ANYONE", "OTHER", REFUSED),
        (("--dicom-allow", "MODALITY"), "MODALITY", "EDGE", [0]),
        (("--dicom-allow", "MODALITY"), "OTHER", "EDGE", REFUSED),
        (("--dicom-allow", "MODALITY@127.0.0.0/8"), "MODALITY", "EDGE", [0]),
        (("--dicom-allow", "MODALITY@10.0.0.1", "--dicom-allow", "CT@127.0.0.1"), "MODALITY", "EDGE", REFUSED),
    ],
)
def test_titles_and_addresses_that_may_send(start_server, allowed, calling, called, statuses):
    server = start_server(*NODE, *allowed)
    assert send(node_port(server), [instance(6)], calling, called) == statuses
    assert len(items(server)) == len(statuses)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--dicom-port", "0", "--dicom-host", "0.0.0.0"), 2),
        (("--dicom-port", "0", "--dicom-allow", "X@nowhere"), 2),
        (("--dicom-port", "0", "--ae-title", "SEVENTEEN CHARS.."), 2),
        (("--dicom-port", "0", "--forward", "ARCHIVE"), 2),
        (("--forward", "ARCHIVE@host:104"), 2),
    ],
)
def test_settings_that_let_anyone_in_or_make_no_sense_are_refused(tiny_bundle, tmp_path, arguments, code):
    done = subprocess.run([*command(tiny_bundle, tmp_path / "state"), *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr


def test_a_port_in_use_ends_it_with_a_line(start_server, tiny_bundle, tmp_path):
    port = node_port(start_server(*NODE))
    given = [*command(tiny_bundle, tmp_path / "other"), "--dicom-port", str(port)]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 6 and "cannot listen" in done.stderr


def test_without_its_extra_it_says_how_to_install_it(tiny_bundle, tmp_path):
    code = "import sys; sys.modules['pynetdicom'] = None; from edge_runtime.serving.cli import main; main()"
    given = ["--model", str(tiny_bundle), "--state", str(tmp_path / "state"), "--port", "0", "--dicom-port", "0"]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "fracture-edge-runtime[node]" in done.stderr


def test_noise_on_the_port_harms_nobody(start_server):
    server = start_server(*NODE)
    port = node_port(server)
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    noises = [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), struct.pack(">BxI", 1, 0xFFFFFFF0) + b"x" * 100, b"\1"]
    for noise in noises:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(noise)
    assert send(port, [instance(7)]) == [0]
    for connection in idle:
        connection.close()
    wait_until(lambda: items(server) and items(server)[0]["state"] == "answered")
    assert server.stop() == 0


def test_dcmtk_is_heard_and_sends(start_server, tmp_path):
    server = start_server(*NODE)
    port = str(node_port(server))
    aec = ["-aec", "EDGE", "127.0.0.1", port]
    assert subprocess.run([dcmtk("echoscu"), *aec], capture_output=True, timeout=60).returncode == 0
    instance(8).save_as(tmp_path / "8.dcm", enforce_file_format=True)
    done = subprocess.run([dcmtk("storescu"), *aec, tmp_path / "8.dcm"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: items(server) and items(server)[0]["state"] == "answered")


def test_a_report_goes_on_and_dcmtk_reads_it(start_server, tmp_path):
    port = free_port()
    server = start_server(*NODE, "--forward", f"ARCHIVE@127.0.0.1:{port}")
    source = instance(9)
    assert send(node_port(server), [source]) == [0]
    outbox = tmp_path / "state" / "outbox"
    wait_until(lambda: any("reports are kept" in line for line in server.lines))  # nobody receives yet
    (kept,) = outbox.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with receiving(tmp_path / "archive", port) as archive:
        wait_until(lambda: not list(outbox.iterdir()))
        (path,) = archive.iterdir()
    report = dcmread(path)
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "PatientBirthDate"):
        assert report[name].value == source[name].value, name
    dump = [dcmtk("dsrdump"), "--print-all-codes", "--print-long-values", path]
    done = subprocess.run(dump, capture_output=True, encoding="latin-1", timeout=60)
    assert done.returncode == 0 and "E:" not in done.stderr and "W:" not in done.stderr, done.stderr
    (item,) = items(server)
    for words in ("Imaging Measurement Report", f'"{item["result"]["probability"]:.6f}"', "Research use only"):
        assert words in done.stdout, done.stdout


def test_a_report_that_is_refused_comes_again_and_keeps_no_other_waiting(start_server, tmp_path):
    arrived: list[str] = []

    def answer(event) -> int:
        arrived.append(event.request.AffectedSOPInstanceUID)
        return 0xA900 if len(arrived) == 1 else 0x0000

    archive = AE("ARCHIVE")
    archive.add_supported_context(COMPREHENSIVE_SR, "1.2.840.10008.1.2")  # implicit alone: converted on the way
    receiver = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        server = start_server(*NODE, "--forward", f"ARCHIVE@127.0.0.1:{receiver.server_address[1]}")
        assert send(node_port(server), [instance(50), instance(51)]) == [0, 0]
        outbox = tmp_path / "state" / "outbox"
        wait_until(lambda: len(arrived) == 3 and not list(outbox.iterdir()))
        assert len(set(arrived)) == 2 and any("0xA900" in line for line in server.lines)
    finally:
        receiver.shutdown()


def test_reports_outlive_a_kill_and_go_once(start_server, tmp_path):
    port, state = free_port(), tmp_path / "state"
    forward = ("--forward", f"ARCHIVE@127.0.0.1:{port}")
    server = start_server(*NODE, *forward)
    assert send(node_port(server), [instance(number) for number in range(20, 23)]) == [0, 0, 0]
    wait_until(lambda: len(list((state / "outbox").glob("[0-9]*.dcm"))) == 3)
    server.process.kill()
    server.process.wait()
    with receiving(tmp_path / "archive", port) as archive:
        start_server(*NODE, *forward)
        wait_until(lambda: not list((state / "outbox").iterdir()))
        assert len(list(archive.iterdir())) == 3


def strike_at(server, state: Path, share: int, done: threading.Event) -> None:
    """Kills the server once it has taken in so many more instances, or all are sent."""

    def taken() -> int:
        with sqlite3.connect(state / "store.sqlite") as connection:
            return connection.execute("SELECT count(*) FROM items").fetchone()[0]

    before = taken()
    wait_until(lambda: done.is_set() or taken() >= before + share)
    server.process.kill()


def killed_again_and_again(start_server, state: Path, count: int, kills: int) -> None:
    """Sends instances to a server that is killed meanwhile; what was answered with success is there once at the end."""
    left, share = list(range(count)), max(1, count // (kills + 1))
    for _ in range(kills):
        server, done = start_server(*NODE), threading.Event()
        striker = threading.Thread(target=strike_at, args=(server, state, share, done))
        striker.start()
        batch = left[: 2 * share]
        statuses = send(node_port(server), map(instance, batch))
        done.set()
        striker.join()
        server.process.wait()
        confirmed = {number for number, status in zip(batch, statuses, strict=False) if status == 0}
        left = [number for number in left if number not in confirmed]
    assert 0 < len(left) < count, "the kills came too early or too late to show anything"
    server = start_server(*NODE)
    statuses = send(node_port(server), map(instance, left))
    assert statuses == [0] * len(left)
    wait_until(lambda: not list((state / "originals").iterdir()), ANSWERED_S + count / 20)
    assert server.stop() == 0
    with sqlite3.connect(state / "store.sqlite") as connection:
        rows = connection.execute("SELECT count(*), count(DISTINCT key), sum(state = 'answered') FROM items").fetchone()
    assert rows == (count, count, count)


def test_kills_in_between_lose_none_and_judge_none_twice(start_server, tmp_path):
    killed_again_and_again(start_server, tmp_path / "state", 60, 2)


@pytest.mark.slow
def test_ten_thousand_instances_with_kills_in_between(start_server, tmp_path):
    killed_again_and_again(start_server, tmp_path / "state", 10_000, 20)


def test_a_file_without_a_row_and_a_row_with_a_file_are_brought_together(start_server, tmp_path):
    """The two places where a power cut can part them: after the file, and after the answer."""
    server = start_server(*NODE)
    assert send(node_port(server), [instance(30)]) == [0]
    wait_until(lambda: items(server) and items(server)[0]["state"] == "answered")
    server.stop()
    state = tmp_path / "state"
    with sqlite3.connect(state / "store.sqlite") as connection:
        ((key,),) = connection.execute("SELECT key FROM items").fetchall()
    instance(30).save_as(state / "originals" / f"{key.partition(':')[2]}.dcm", enforce_file_format=True)
    instance(31).save_as(state / "originals" / f"{'0' * 64}.dcm", enforce_file_format=True)
    again = start_server(*NODE)
    wait_until(lambda: [item["state"] for item in items(again)] == ["answered", "answered"])
    wait_until(lambda: not list((state / "originals").iterdir()))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a small disk is mounted by root")
def test_a_full_disk_is_told_to_the_sender(tiny_bundle, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    given = command(tiny_bundle, state, "--dicom-port", 0)
    script = 'mount -t tmpfs -o size=200m tmpfs "$0" && exec "$@"'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(state), *given], stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("serving "):
                break
        else:
            pytest.skip(f"no file system can be mounted here: {lines}")
        port = int(next(line for line in lines if line.startswith("DICOM node")).split(":")[1].split()[0].rstrip(","))
        assert send(port, [instance(40)]) == [0xA700]
    finally:
        process.kill()
        process.communicate()
