"""A shortcut that exists is seen, and one that does not exist is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from train.audit import shortcuts, take_inventory
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


def test_of_many_files_and_folders_so_many_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(40):
        folder = f"{'fractured' if seed % 2 else 'normal'}/{'ward' if seed % 2 else f'room{seed}'}"
        save(draw_radiograph(seed, (40, 40)), tmp_path / folder / f"{seed}.png")
    inventory, asked = take_inventory(tmp_path), []
    monkeypatch.setattr(shortcuts, "_FILES_MOST", 30)
    monkeypatch.setattr(shortcuts, "_FOLDERS_MOST", 1)
    monkeypatch.setattr(shortcuts, "_auc", lambda features, *_: asked.append(features.shape) or 0.5)
    measure_shortcuts(inventory, np.arange(40))
    assert {rows for rows, _ in asked} == {30}
    assert asked[-1] == (30, 1)  # the ward, where all the others are elsewhere
    monkeypatch.undo()
    assert measure_shortcuts(inventory, np.arange(40))["source folder"] > 0.95
