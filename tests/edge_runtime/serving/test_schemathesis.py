"""The served OpenAPI document and what the server does, held together by a public fuzzer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

# Bytes that are no image are refused with 422, as the document says; that is no schema's business.
LEFT_OUT = "positive_data_acceptance"


@pytest.mark.parametrize("day", ["", "2026-13-01", "today", "0"])
def test_a_day_that_is_none_is_refused(server, day):
    with server.client() as client:
        assert client.get("/v1/results", params={"day": day}).status_code == 400


@pytest.mark.parametrize("heatmap", ["", "2", "true"])
def test_a_wish_that_the_document_does_not_know_is_refused(server, golden_images, heatmap):
    with server.client() as client:
        content = golden_images[0].read_bytes()
        answer = client.post("/v1/predict", params={"heatmap": heatmap}, content=content)
    assert answer.status_code == 400 and "heatmap" in answer.text


@pytest.mark.slow
def test_schemathesis_finds_nothing(start_server, tmp_path):
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("SKIPPED LOUDLY: schemathesis, which tries the REST interface, is not installed")
    server = start_server("--rate", "10000")
    options = ["--max-examples", "60", "--exclude-checks", LEFT_OUT, "--seed", "1", "--generation-database", "none"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "9 selected / 9 total" in done.stdout
