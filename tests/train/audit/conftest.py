"""Small data sets, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Draw = Callable[..., NDArray[np.uint8]]


def draw_image(seed: int, size: tuple[int, int] = (120, 96)) -> NDArray[np.uint8]:
    """uint8 (H, W) smooth structure, different for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 10), dtype=np.uint8)).resize(
        size[::-1], Image.Resampling.BICUBIC
    )
    return np.asarray(coarse.filter(ImageFilter.GaussianBlur(1)))


def draw_radiograph(seed: int, size: tuple[int, int] = (200, 180)) -> NDArray[np.uint8]:
    """uint8 (H, W) structure at all scales, different for each seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros(size)
    for cells, weight in ((6, 1.0), (16, 0.6), (48, 0.4)):
        noise = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        image += weight * np.asarray(noise.resize(size[::-1], Image.Resampling.BICUBIC))
    return np.clip(110 + 55 * image, 0, 255).astype(np.uint8)


def save(image_u8: NDArray[np.uint8], path: Path) -> Path:
    """Writes an image and returns its path; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image_u8).save(path)
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads what another one has cached, nor the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    # Not through XDG_CACHE_HOME: matplotlib would build its font list anew in every test.
    monkeypatch.setattr("train.audit.cache.cache_folder", lambda: folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class folders alone, six different images each."""
    root = tmp_path / "data"
    for seed in range(12):
        folder = "fractured" if seed % 2 else "not fractured"
        save(draw_image(seed), root / folder / f"{seed}.png")
    return root
