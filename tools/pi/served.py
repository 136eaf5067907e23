"""Runs on the device: edge-serve is started, judges one image by the page's API and one by C-STORE, and is stopped.

python served.py PREFIX IMAGE INSTANCE    one JSON object: {`page`: record, `dicom`: record, `code`: of its exit, ...}
"""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PATIENCE_S = 900  # an emulated processor is forty times slower
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of Linux


def main(prefix: str, image: str, instance: str) -> None:
    """Prints what the server answered."""
    raise_loopback()
    with tempfile.TemporaryDirectory() as state:
        start = time.monotonic()
        command = [f"{prefix}/bin/edge-serve", "--port", "0", "--dicom-port", "0", "--state", state]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            node, url = _where(process)
            found: dict[str, object] = {"ready_s": round(time.monotonic() - start, 1)}
            request = urllib.request.Request(f"{url}/v1/predict", Path(image).read_bytes(), {"X-Edge-Page": "1"})
            found["page"] = _ask(request)
            _store(node, instance)
            found["dicom"] = _answer_to_instance(url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
        found["code"] = process.returncode
    print(json.dumps(found))


def raise_loopback() -> None:
    """A network of one's own begins with its loopback down."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def _where(process: subprocess.Popen[str]) -> tuple[int, str]:
    """(port of the node, address of the page), as the server tells them."""
    port = 0
    for line in process.stderr or ():
        print(line, end="", file=sys.stderr)
        if match := re.match(r"DICOM node \S+ on .*:(\d+)", line):
            port = int(match[1])
        if match := re.match(r"serving (\S+)", line):
            return port, match[1]
    raise SystemExit("the server ended at once")


def _ask(request: urllib.request.Request | str) -> dict[str, object]:
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return dict(json.load(answer))


def _store(port: int, instance: str) -> None:
    from pydicom import dcmread
    from pynetdicom import AE

    dataset = dcmread(instance)
    entity = AE("MODALITY")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_S
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="EDGE")
    status = association.send_c_store(dataset)
    association.release()
    if status.Status != 0:
        raise SystemExit(f"C-STORE ended with status 0x{status.Status:04X}")


def _answer_to_instance(url: str) -> dict[str, object]:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        items = _ask(f"{url}/v1/results")["items"]
        if isinstance(items, list):
            for item in items:
                if item["source"] == "dicom" and item["state"] == "answered":
                    return dict(item["result"])
        time.sleep(1)
    raise SystemExit("the instance got no answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
