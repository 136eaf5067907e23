"""Draws of an image as it might have come: turned, cropped, darker, smaller, re-encoded, noisy."""

from __future__ import annotations

import io

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.radiograph_gate import SIDE

Grey = NDArray[np.uint8]
_BILINEAR = Image.Resampling.BILINEAR


def as_seen(grey_u8: Grey) -> Grey:
    """The square that the network sees."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(grey_u8)).resize((SIDE, SIDE), _BILINEAR))


def radiograph(grey_u8: Grey, rng: Generator) -> Grey:
    """A radiograph at any angle, cropped to no less than 60 % of a side, or with a border."""
    image = Image.fromarray(grey_u8)
    if rng.random() < 0.5:
        angle = rng.uniform(-180, 180) if rng.random() < 0.5 else rng.choice([90, 180, 270])
        image = image.rotate(float(angle), _BILINEAR, expand=bool(rng.random() < 0.4))
    image = _flipped(image, rng)
    if rng.random() < 0.5:
        image = _cropped(image, rng, 0.6)
    elif rng.random() < 0.35:
        width, height = image.size
        left, top = int(width * rng.uniform(0.02, 0.4)), int(height * rng.uniform(0, 0.2))
        border = int(rng.choice([0, 0, 0, 0, 255, int(rng.integers(0, 40))]))
        framed = Image.new("L", (width + 2 * left, height + 2 * top), border)
        framed.paste(image, (left, top))
        image = framed
    return _degraded(_toned(as_seen(np.asarray(image)), rng), rng)


def other(grey_u8: Grey, rng: Generator) -> Grey:
    """Anything else, cropped at will; a quarter of it darkened, so that black surroundings are not what tells."""
    if rng.random() < 0.06:
        grey_u8 = 255 - grey_u8
    if rng.random() < 0.25:
        share = grey_u8 / np.float32(255)
        low = np.percentile(share, rng.uniform(0, 40))
        share = np.clip((share - low) / max(1e-3, 1 - low), 0, 1) ** rng.uniform(0.8, 2)
        grey_u8 = (share * 255 * rng.uniform(0.5, 1)).astype(np.uint8)
    image = Image.fromarray(grey_u8)
    if rng.random() < 0.2:
        image = image.rotate(float(rng.uniform(-180, 180)), _BILINEAR)
    if rng.random() < 0.55:
        image = _cropped(image, rng, 0.35)
    return _degraded(_toned(as_seen(np.asarray(_flipped(image, rng))), rng), rng)


def _flipped(image: Image.Image, rng: Generator) -> Image.Image:
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if rng.random() < 0.3 else image


def _cropped(image: Image.Image, rng: Generator, least: float) -> Image.Image:
    (width, height), (x, y) = image.size, rng.uniform(least, 1, 2)
    left, top = rng.uniform(0, 1 - x) * width, rng.uniform(0, 1 - y) * height
    return image.crop((int(left), int(top), int(left + x * width), int(top + y * height)))


def _toned(image_u8: Grey, rng: Generator) -> Grey:
    if rng.random() >= 0.6:
        return image_u8
    values = (image_u8 / np.float32(255)) ** np.exp(rng.normal(0, 0.25))
    return np.clip((values * rng.uniform(0.75, 1.15) + rng.uniform(-0.06, 0.08)) * 255, 0, 255).astype(np.uint8)


def _degraded(image_u8: Grey, rng: Generator) -> Grey:
    image = Image.fromarray(image_u8)
    if rng.random() < 0.3:
        side = int(rng.integers(50, 150))
        image = image.resize((side, side), _BILINEAR).resize((SIDE, SIDE), _BILINEAR)
    if rng.random() < 0.3:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=int(rng.integers(25, 90)))
        image = Image.open(stream)
    values = np.asarray(image)
    if rng.random() < 0.25:
        values = np.clip(values + rng.normal(0, rng.uniform(1, 7), values.shape), 0, 255).astype(np.uint8)
    return values
