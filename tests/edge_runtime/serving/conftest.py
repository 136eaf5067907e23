"""A real server in a process of its own, on a free port, with the tiny bundle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

END_S = 5  # for the clean end of a server
READY_S = 60  # starting on a busy machine


@dataclass
class Running:
    """A server that answers."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str]  # of its standard error, as they come
    reader: threading.Thread | None = None  # collects them

    def client(self, **options) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, verify=False, trust_env=False, **options)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def command(bundle: Path, state: Path, *arguments: object) -> list[str]:
    given = ("--model", bundle, "--state", state, "--port", 0, *arguments)
    return [sys.executable, "-m", "edge_runtime.serving.cli", *map(str, given)]


@pytest.fixture
def start_server(tiny_bundle, tmp_path) -> Iterator[Callable[..., Running]]:
    """Starts servers with further arguments; they end with the test."""
    started: list[Running] = []

    def start(*arguments: object, state: Path | None = None, bundle: Path = tiny_bundle, **environment) -> Running:
        process = subprocess.Popen(
            command(bundle, state or tmp_path / "state", *arguments),
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        running = Running("", process, [])
        ready = threading.Event()

        def read() -> None:
            with process.stderr as stream:
                for line in stream:
                    running.lines.append(line.rstrip())
                    if match := re.match(r"serving (\S+)", line):
                        running.url = match[1]
                        ready.set()
            ready.set()

        running.reader = threading.Thread(target=read, daemon=True)
        running.reader.start()
        started.append(running)
        assert ready.wait(READY_S) and running.url, running.lines
        return running

    yield start
    for running in started:
        # As systemd ends them; what a test holds open keeps none for ever.
        running.process.terminate()
        try:
            running.process.wait(END_S)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()
        running.reader.join()


@pytest.fixture
def server(start_server) -> Running:
    return start_server()
