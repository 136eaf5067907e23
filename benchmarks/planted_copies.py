"""Kinds of copies that the audit has to find, each made from a radiograph and a random generator."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Kind = Callable[[Image.Image, np.random.Generator], Image.Image]
BICUBIC = Image.Resampling.BICUBIC
ROTATION_RANGES = ((1, 5), (5, 15), (15, 30), (30, 60), (60, 90), (90, 135), (135, 180))  # degrees, either direction


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(quality))
    return Image.open(stream).convert("L")


def either(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice([-1, 1]))


def rotate(image: Image.Image, angle: float, fill: int = 0, expand: bool = False) -> Image.Image:
    return image.rotate(angle, BICUBIC, expand=expand, fillcolor=fill)


def rotate_reflected(image: Image.Image, angle: float) -> Image.Image:
    width, height = image.size
    margin = int(np.hypot(width, height) / 2)
    wide = Image.fromarray(np.pad(np.asarray(image), margin, mode="symmetric"))
    return wide.rotate(angle, BICUBIC).crop((margin, margin, margin + width, margin + height))


def rotate_thrice(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    for _ in range(3):
        image = jpeg(rotate(image, either(rng, 3, 25)), 85)
    return image


def crop(image: Image.Image, rng: np.random.Generator, most: float = 0.08) -> Image.Image:
    width, height = image.size
    left, top, right, bottom = rng.uniform(0, most, 4)
    return image.crop((int(left * width), int(top * height), int(width * (1 - right)), int(height * (1 - bottom))))


def resize(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))), BICUBIC)


def gamma(image: Image.Image, exponent: float) -> Image.Image:
    return image.point([round(255 * (value / 255) ** exponent) for value in range(256)])


def less_or_more(rng: np.random.Generator, least: float, most: float) -> float:
    """A factor clearly below or clearly above 1."""
    return float(rng.choice([rng.uniform(least, 0.85), rng.uniform(1.2, most)]))


def anywhere(rng: np.random.Generator) -> float:
    return either(rng, 1, 180)


def rotation_kinds() -> dict[str, Kind]:
    ranges = {
        f"rotated {low} to {high} degrees": lambda image, rng, low=low, high=high: rotate(image, either(rng, low, high))
        for low, high in ROTATION_RANGES
    }
    return ranges | {
        "rotated, white corners": lambda image, rng: rotate(image, anywhere(rng), 255),
        "rotated, reflected corners": lambda image, rng: rotate_reflected(image, anywhere(rng)),
        "rotated, frame grown, black": lambda image, rng: rotate(image, anywhere(rng), 0, True),
        "rotated, frame grown, white": lambda image, rng: rotate(image, anywhere(rng), 255, True),
        "rotated by quarters": lambda image, rng: image.transpose(Image.Transpose(int(rng.integers(2, 5)))),
        "rotated three times, JPEG between": rotate_thrice,
    }


def other_kinds() -> dict[str, Kind]:
    return {
        "re-encoded": lambda image, rng: jpeg(image, rng.uniform(15, 60)),
        "made smaller": lambda image, rng: resize(image, rng.uniform(0.3, 0.8)),
        "made larger": lambda image, rng: resize(image, rng.uniform(1.2, 2)),
        "squashed to 224 x 224": lambda image, rng: image.resize((224, 224), BICUBIC),
        "cropped": lambda image, rng: crop(image, rng),
        "brightness": lambda image, rng: ImageEnhance.Brightness(image).enhance(less_or_more(rng, 0.5, 1.6)),
        "contrast": lambda image, rng: ImageEnhance.Contrast(image).enhance(less_or_more(rng, 0.5, 1.6)),
        "gamma": lambda image, rng: gamma(image, less_or_more(rng, 0.6, 1.7)),
        "mirrored": lambda image, rng: ImageOps.mirror(image),
        "upside down": lambda image, rng: ImageOps.flip(image),
        "mirrored, rotated": lambda image, rng: rotate(ImageOps.mirror(image), anywhere(rng)),
        "squashed, rotated": lambda image, rng: rotate(image.resize((224, 224), BICUBIC), anywhere(rng)),
        "rotated, cropped": lambda image, rng: crop(rotate(image, anywhere(rng)), rng, 0.06),
        "cropped, rotated": lambda image, rng: rotate(crop(image, rng, 0.06), anywhere(rng)),
        "rotated, brightness, JPEG": lambda image, rng: jpeg(
            ImageEnhance.Brightness(rotate(image, anywhere(rng))).enhance(rng.uniform(0.6, 1.5)), rng.uniform(25, 70)
        ),
        "half size, rotated, contrast": lambda image, rng: ImageEnhance.Contrast(
            rotate(resize(image, 0.5), anywhere(rng))
        ).enhance(rng.uniform(0.6, 1.5)),
        "mirrored, cropped, gamma, JPEG": lambda image, rng: jpeg(
            gamma(crop(ImageOps.mirror(image), rng, 0.06), rng.uniform(0.7, 1.5)), 50
        ),
        "frame grown, 224 x 224, JPEG": lambda image, rng: jpeg(
            rotate(image, anywhere(rng), 0, True).resize((224, 224), BICUBIC), 60
        ),
    }
