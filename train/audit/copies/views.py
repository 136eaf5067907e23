"""Square views of a radiograph: what copies are searched and compared in.

The disc inscribed in an image's centre survives a rotation by any angle, whatever fills the corners. So each image is
seen as the square around that disc, and, where it is not square, also squashed to one: half of all copies were.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from train.audit.copies.smoothing import smooth

SIDE = 128  # pixels of a view
_SQUARE_TOLERANCE = 0.05  # an aspect ratio nearer to 1 than this needs no second view
_WHITE = 245  # grey level; white corners are at least as bright, after JPEG too
_NOISE_SIGMA, _STRUCTURE_SIGMA = 1.1, 8.5  # pixels: finer is noise, coarser is brightness
_FLOOR = 0.7  # of the typical local contrast: flatter regions are not blown up to it
_FLOOR_PERCENTILE = 60
_SAMPLE = 4  # pixels between those that the percentile looks at


def remove_white_corners(grey_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image, uint8 (H, W), with four white corners, as a rotation leaves them, in the median grey of the rest.

    A white corner is the strongest edge in a picture that is dark at its rim, and hides what is near. Other white areas
    stay: a bone or a strip of film that touches the border would be filled in one copy and not in the other.
    """
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    if min(grey_u8[corner] for corner in corners) < _WHITE:
        return grey_u8
    areas, _ = label(grey_u8 >= _WHITE)
    fill = np.isin(areas, [areas[corner] for corner in corners])
    if fill.all():
        return grey_u8
    cleaned = grey_u8.copy()
    cleaned[fill] = np.uint8(np.median(grey_u8[~fill]))
    return cleaned


def view_half_sides(width: int, height: int) -> list[tuple[float, float]]:
    """Half width and half height in pixels of each view's frame, which is centred in the image; one or two views."""
    half = min(width, height) / 2
    frames = [(half, half)]
    if abs(width / height - 1) > _SQUARE_TOLERANCE:
        frames.append((width / 2, height / 2))
    return frames


def make_views(grey_u8: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """One or two uint8 (SIDE, SIDE) views of a uint8 (H, W) image."""
    height, width = grey_u8.shape
    image = Image.fromarray(grey_u8)
    views = []
    for half_width, half_height in view_half_sides(width, height):
        left, top = width / 2 - half_width, height / 2 - half_height
        box = (left, top, left + 2 * half_width, top + 2 * half_height)
        views.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)))
    return views


def normalise_contrast(views_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (n, SIDE, SIDE): structure without brightness, contrast and gamma, about -4 to 4, from uint8 views."""
    images = views_u8.astype(np.float32)
    structure = smooth(images, _NOISE_SIGMA) - smooth(images, _STRUCTURE_SIGMA)
    contrast = np.sqrt(smooth(structure * structure, _STRUCTURE_SIGMA))
    sample = contrast[:, ::_SAMPLE, ::_SAMPLE][:, disc(SIDE // _SAMPLE)]
    typical = np.percentile(sample, _FLOOR_PERCENTILE, axis=-1).astype(np.float32)[:, None, None]
    return structure / (contrast + _FLOOR * typical + 1)


def disc(side: int) -> NDArray[np.bool_]:
    """The inscribed disc, bool (side, side)."""
    x, y = unit_grid(side)
    return x * x + y * y <= 1


def unit_grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each pixel centre x and y, float32 (side, side) each, from -1 to 1."""
    steps = ((np.arange(side) * 2 + 1) / side - 1).astype(np.float32)
    x, y = np.meshgrid(steps, steps)
    return x, y
