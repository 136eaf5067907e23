"""The server as a process: what systemd hears, and that another engine's other answers keep it from starting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time

import pytest

from .conftest import command


def test_systemd_hears_when_it_is_ready_and_when_it_stops(start_server, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        server = start_server(NOTIFY_SOCKET=str(tmp_path / "notify"))
        heard = {listener.recv(64).decode() for _ in range(2)}
        assert heard == {"READY=1", "WATCHDOG=1"}
        assert server.stop() == 0
        while (word := listener.recv(64)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head(server):
    # Nagle's algorithm against delayed acknowledgements: 40 ms an answer, the fastest too.
    with server.client() as client:
        client.get("/v1/health")

        def answer_s() -> float:
            start = time.perf_counter()
            client.get("/v1/health")
            return time.perf_counter() - start

        assert min(answer_s() for _ in range(20)) < 0.03


def test_a_port_in_use_is_told(server, tiny_bundle, tmp_path):
    port = server.url.rsplit(":", 1)[1]
    done = subprocess.run(
        [*command(tiny_bundle, tmp_path / "other"), "--port", port], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 6 and "cannot listen" in done.stderr


def test_other_answers_to_the_golden_images_keep_it_from_starting(start_server, bundle_copy, tmp_path):
    expected = bundle_copy / "golden" / "expected.json"
    told = json.loads(expected.read_text())
    for image in told.values():
        image["model_int8.tflite"]["probability"] = 1.0 - image["model_int8.tflite"]["probability"]
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    expected.write_text(json.dumps(told))
    import hashlib

    entry = manifest["files"]["golden/expected.json"]
    entry |= {"size": expected.stat().st_size, "sha256": hashlib.sha256(expected.read_bytes()).hexdigest()}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    state = tmp_path / "state"
    done = subprocess.run(command(bundle_copy, state), capture_output=True, text=True)
    assert done.returncode == 4 and "--accept-engine" in done.stderr
    assert start_server("--accept-engine", state=state, bundle=bundle_copy).stop() == 0
    again = start_server(state=state, bundle=bundle_copy)  # looked at once, and the same since
    assert not any("golden" in line for line in again.lines)


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "python_multipart"])
def test_without_its_extra_it_says_how_to_install_it(tiny_bundle, tmp_path, missing):
    import sys

    code = f"import sys; sys.modules[{missing!r}] = None; from edge_runtime.serving.cli import main; main()"
    arguments = ["--model", str(tiny_bundle), "--state", str(tmp_path / "state"), "--port", "0"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5 and "fracture-edge-runtime[serve]" in done.stderr
