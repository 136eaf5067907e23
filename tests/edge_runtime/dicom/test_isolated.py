"""A decoder that ends its process, hangs or complains ends as an error, and the process goes on."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from edge_runtime.dicom import isolated
from edge_runtime.dicom.isolated import decode_apart


def test_pixels_come_back_as_they_were_decoded() -> None:
    pixels = np.arange(3_000_000, dtype=">u2").reshape(1000, 3000)
    found = decode_apart(lambda: pixels)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


def complaining() -> np.ndarray:
    os.write(2, b"Corrupt JPEG data: premature end of data segment\n")
    return np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize("decode", [os.abort, lambda: 1 / 0, lambda: os._exit(0), complaining])
def test_a_decoder_that_fails_in_any_way_is_an_error(decode, capfd) -> None:
    with pytest.raises(ValueError, match="the decoder failed"):
        decode_apart(decode)
    assert capfd.readouterr().err == ""


def test_a_decoder_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "PATIENCE_S", 0.2)
    start = time.monotonic()
    with pytest.raises(ValueError, match="the decoder failed"):
        decode_apart(lambda: time.sleep(30))
    assert time.monotonic() - start < 5
