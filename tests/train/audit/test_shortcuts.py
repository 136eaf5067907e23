"""A shortcut that exists is seen, and one that does not exist is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.audit import take_inventory
from train.audit.shortcuts import measure_shortcuts

from .conftest import draw_radiograph, save


def test_a_class_with_its_own_size_and_names_is_a_shortcut(tmp_path: Path) -> None:
    for seed in range(24):
        positive = seed % 2
        image = draw_radiograph(seed, (150, 120) if positive else (120, 150))
        name = f"scan{seed}" if positive else f"IMG{seed}"
        save(image, tmp_path / ("fractured" if positive else "normal") / f"{name}.png")
    inventory = take_inventory(tmp_path)
    found = measure_shortcuts(inventory, np.arange(24))
    assert found["dimensions"] > 0.95
    assert found["file name"] > 0.95
    assert found["source folder"] == 0.5


def test_too_few_radiographs_measure_nothing(data: Path) -> None:
    inventory = take_inventory(data)
    assert measure_shortcuts(inventory, np.zeros(12, np.int64)) == {}
