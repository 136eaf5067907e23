"""What makes and judges the gate: sources on one side only, drawings that repeat by their seed."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tools.radiograph_gate.corpus import JUDGE, SOURCES, TRAIN
from tools.radiograph_gate.drawn import DRAWN, FONTS, boneless


def test_no_source_chooses_and_judges() -> None:
    rows = list(csv.DictReader(SOURCES.read_text().splitlines()))
    assert {row["role"] for row in rows} == {TRAIN, JUDGE}
    assert len({row["folder"] for row in rows}) == len(rows)
    assert not set(FONTS[TRAIN]) & set(FONTS[JUDGE])


@pytest.mark.parametrize("kind", DRAWN)
def test_a_drawing_repeats_by_its_seed(kind: str) -> None:
    first, second = (DRAWN[kind](np.random.default_rng(4), JUDGE) for _ in range(2))
    assert first.dtype == np.uint8 and first.ndim == 2
    np.testing.assert_array_equal(first, second)


def test_a_boneless_crop_is_nearly_empty() -> None:
    image = np.zeros((300, 200), np.uint8)
    image[60:240, 80:120] = 220
    crop = boneless(np.random.default_rng(0), image)
    assert crop is not None and np.ptp(crop.astype(int)) < 45
    assert (
        boneless(np.random.default_rng(0), np.random.default_rng(1).integers(0, 256, (90, 90), dtype=np.uint8)) is None
    )
