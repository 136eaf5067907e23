"""What is no radiograph and comes in no package: pages, noise, empty images, shapes, windows, crops without a bone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Grey = NDArray[np.uint8]  # (H, W)

_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Of those that choose the network, and of those that judge it.
FONTS = {
    "train": ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono-Bold.ttf", "cmr10.ttf"),
    "judge": ("DejaVuSansMono.ttf", "DejaVuSerif-Italic.ttf", "STIXGeneral.ttf", "cmss10.ttf"),
}
_BONELESS_SPREAD, _BONELESS_GRADIENT = 45, 9  # grey levels, and levels a pixel: a bone has more


def page(rng: Generator, role: str) -> Grey:
    """A page of text, dark on light or light on dark."""
    width, height = (int(side) for side in rng.integers(200, 900, 2))
    dark = rng.random() < 0.4
    image = Image.new("L", (width, height), int(rng.integers(0, 60) if dark else rng.integers(180, 256)))
    draw, font = ImageDraw.Draw(image), _font(rng, role, 10, 60)
    ink = int(rng.integers(150, 256) if dark else rng.integers(0, 90))
    step, gaps = font.size * rng.uniform(1.0, 1.8), 0.7 if rng.random() < 0.3 else 0.0
    for y in np.arange(rng.integers(0, 30), height, step):
        if rng.random() >= gaps:
            draw.text((rng.integers(0, 40), y), _words(rng, int(width / font.size * 1.6)), fill=ink, font=font)
    return np.asarray(image)


def windows(rng: Generator, role: str) -> Grey:
    """A screen with windows and text in them."""
    width, height = int(rng.integers(500, 1300)), int(rng.integers(350, 800))
    dark = rng.random() < 0.5
    low, high = (20, 90) if dark else (170, 256)
    image = Image.new("L", (width, height), int(rng.integers(low, high)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(2, 9)):
        left, top = rng.uniform(0, 0.8) * width, rng.uniform(0, 0.8) * height
        right, bottom = left + rng.uniform(0.1, 0.7) * width, top + rng.uniform(0.1, 0.7) * height
        draw.rectangle([left, top, right, bottom], fill=int(rng.integers(low, high)), outline=int(rng.integers(256)))
        draw.rectangle([left, top, right, top + 22], fill=int(rng.integers(0, 256)))
        font, ink = _font(rng, role, 9, 18), int(rng.integers(170, 256) if dark else rng.integers(0, 80))
        for y in np.arange(top + 28, bottom - 20, font.size * 1.4):
            if rng.random() < 0.75:
                draw.text((left + 8, y), _words(rng, int(rng.integers(5, 40))), fill=ink, font=font)
    return np.asarray(image)


def noise(rng: Generator, role: str) -> Grey:
    """Noise: white, salt and pepper, blocks, clouds, streaks."""
    height, width = (int(side) for side in rng.integers(64, 600, 2))
    kind = rng.integers(6)
    if kind == 0:
        values = rng.normal(rng.uniform(0, 255), rng.uniform(0.5, 80), (height, width))
    elif kind == 1:
        values = rng.uniform(0, 255, (height, width))
    elif kind == 2:
        values = (rng.random((height, width)) < rng.uniform(0.01, 0.6)) * 255.0
    elif kind == 3:
        block = int(rng.integers(4, 40))
        cells = rng.uniform(0, 255, (height // block + 1, width // block + 1))
        values = np.kron(cells, np.ones((block, block)))[:height, :width]
    else:
        values = _clouds(rng, height, width, stretched=kind == 5)
    return np.clip(values, 0, 255).astype(np.uint8)


def _clouds(rng: Generator, height: int, width: int, stretched: bool) -> NDArray[np.float64]:
    """Noise whose spectrum falls with frequency; stretched, it is smooth along one way."""
    along = rng.uniform(3, 40, 2) * (rng.random(2) < 0.5) * stretched
    rows, columns = np.fft.fftfreq(height)[:, None] * max(1, along[0]), np.fft.rfftfreq(width)[None] * max(1, along[1])
    frequency = np.hypot(rows, columns) + rng.uniform(0.001, 0.05) * stretched
    frequency[0, 0] = 1
    spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    spectrum /= frequency ** rng.uniform(0.4, 2.2)
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum, (height, width))
    return values / values.std() * rng.uniform(20, 80) + rng.uniform(20, 200)


def empty(rng: Generator, role: str) -> Grey:
    """One grey, a little noise, or a slope of greys."""
    height, width = (int(side) for side in rng.integers(64, 600, 2))
    values = np.full((height, width), float(rng.integers(0, 256)))
    kind = rng.integers(4)
    if kind == 1:
        values += rng.normal(0, rng.uniform(0.3, 3), values.shape)
    if kind >= 2:
        values += np.linspace(0, rng.uniform(-120, 120), width)[None]
    if kind == 3:
        values += np.linspace(0, rng.uniform(-200, 200), height)[:, None]
    return np.clip(values, 0, 255).astype(np.uint8)


def shapes(rng: Generator, role: str) -> Grey:
    """Ellipses, rectangles and lines; stripes."""
    width, height = (int(side) for side in rng.integers(100, 600, 2))
    image = Image.new("L", (width, height), int(rng.integers(0, 256)))
    draw, step = ImageDraw.Draw(image), int(rng.integers(4, 50))
    if rng.random() < 0.2:
        for x in range(0, width, 2 * step):
            draw.rectangle([x, 0, x + step, height], fill=255)
    for _ in range(rng.integers(1, 25)):
        left, top = rng.uniform(-0.1, 1) * width, rng.uniform(-0.1, 1) * height
        box = [left, top, left + rng.uniform(0.02, 0.8) * width, top + rng.uniform(0.02, 0.8) * height]
        (draw.ellipse, draw.rectangle, draw.line)[rng.integers(3)](box, fill=int(rng.integers(0, 256)))
    return np.asarray(image.rotate(float(rng.uniform(0, 90))) if rng.random() < 0.3 else image)


def boneless(rng: Generator, radiograph: Grey) -> Grey | None:
    """A corner or a border of a radiograph in which there is nearly nothing; None where something is."""
    height, width = radiograph.shape
    for _ in range(8):
        share = rng.uniform(0.08, 0.3)
        rows, columns = max(10, int(height * share)), min(width, max(10, int(width * share * rng.uniform(0.6, 1.6))))
        top = (0, height - rows, int(rng.integers(0, height - rows + 1)))[rng.integers(3)]
        left = (0, width - columns, int(rng.integers(0, width - columns + 1)))[rng.integers(3)]
        crop = radiograph[top : top + rows, left : left + columns]
        low, high = np.percentile(crop, (2, 98))
        steep = np.percentile(np.hypot(*np.gradient(crop.astype(float))), 95)
        if high - low < _BONELESS_SPREAD and steep < _BONELESS_GRADIENT:
            return crop
    return None


DRAWN: dict[str, Callable[[Generator, str], Grey]] = {
    "page": page,
    "windows": windows,
    "noise": noise,
    "empty": empty,
    "shapes": shapes,
}


def _font(rng: Generator, role: str, least: int, most: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        str(_FOLDER / FONTS[role][rng.integers(len(FONTS[role]))]), int(rng.integers(least, most))
    )


def _words(rng: Generator, letters: int) -> str:
    return "".join(chr(rng.integers(97, 123)) if rng.random() < 0.85 else " " for _ in range(letters))
