"""Grey image to the square that a network sees: the only way there, for training, calibration, parity and device alike.

What no network sees, the views that the audit compares and thumbnails of pages, is resized where it is made.

Pillow resizes 8-bit images in integer arithmetic, antialiased, so the result is the same on every processor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.spec import ModelSpec

RESIZING_VERSION = 1  # raise it where the same image gives another square, and caches forget the old ones


def preprocess(grey_u8: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.uint8]:
    """uint8 (S, S), grey 0 to 255, from a uint8 (H, W) image of any size.

    `pad` scales the longer side to S and centres the image on black; `stretch` scales both sides to S.
    """
    height, width = grey_u8.shape
    side = spec.size
    if (height, width) == (side, side):
        return grey_u8
    left, top, *fitted = placed_in_square(width, height, side, spec.aspect)
    image = Image.fromarray(grey_u8).resize((fitted[0], fitted[1]), Image.Resampling[spec.resampling.upper()])
    if fitted == [side, side]:
        return np.asarray(image)
    square = np.zeros((side, side), np.uint8)
    square[top : top + fitted[1], left : left + fitted[0]] = np.asarray(image)
    return square


def placed_in_square(width: int, height: int, side: int, aspect: str) -> tuple[int, int, int, int]:
    """(left, top, width, height), pixels: where an image of that size comes to lie in the square.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        side: of the square, pixels.
        aspect: as in the spec.
    """
    fitted = _fitted_size(width, height, side) if aspect == "pad" else (side, side)
    return (side - fitted[0]) // 2, (side - fitted[1]) // 2, *fitted


def _fitted_size(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) with the longer side equal to `side`, in integers so that every machine rounds alike."""
    longer = max(width, height)
    return (
        max(1, (2 * width * side + longer) // (2 * longer)),
        max(1, (2 * height * side + longer) // (2 * longer)),
    )
