"""The parity table fits a terminal, and says everything where it is asked to."""

from __future__ import annotations

import dataclasses

import pytest

from export.limits import Limits
from export.parity.gate import judge
from export.parity.measures import Parity, Trial
from export.parity.table import TERMINAL_COLUMNS, parity_text

from .test_gate import GOOD

BAD = dataclasses.replace(
    GOOD, file="model_int8.onnx", engine="onnxruntime", engine_version="1.32.0", radiograph_decisions_changed=90
)
REASON = "cannot quantise this network: " + "a layer is not understood, and so " * 8
TRIED = (
    Trial("channel_duplication", "model_int8.tflite", -0.0012, 3, 300, 0.026, 1234.5, "passed", chosen=True),
    Trial("equalised", "", None, None, None, None, 1.0, outcome=REASON),
)


@pytest.fixture
def parity() -> Parity:
    measured = Parity(2_000, "test split", 0.5, 0.9, (GOOD, BAD), 1e-5, radiographs=1_000, tried=TRIED)
    return judge(dataclasses.replace(measured, tried_on="300 images, validation split"), Limits(), True)


def test_the_table_fits_a_terminal(parity):
    text = parity_text(parity)
    assert max(map(len, text.splitlines())) <= TERMINAL_COLUMNS
    assert "90/1000" in text and "failed" in text and "refused" in text
    assert " ".join(REASON.split()) in " ".join(text.split())  # whole, in lines of its own


def test_the_wide_table_has_every_figure(parity):
    text = parity_text(parity, wide=True)
    assert "90 of 1000 (9.0%)" in text and "onnxruntime 1.32.0" in text and "99th percentile" in text
