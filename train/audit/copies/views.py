"""Square views of a radiograph: what copies are searched and compared in.

The disc inscribed in an image's centre survives a rotation by any angle, whatever fills the corners. So each image is
seen as the square around that disc, and, where it is not square, also squashed to one: half of all copies were.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import ConvexHull, QhullError

from train.audit.copies.smoothing import smooth

SIDE = 128  # pixels of a view
_SQUARE_TOLERANCE = 0.05  # an aspect ratio nearer to 1 than this needs no second view
_WHITE = 245  # grey level; white corners are at least as bright, after JPEG too
_SEAM = 1.5  # pixels beside the long side of a corner that mix both
_NOISE_SIGMA, _STRUCTURE_SIGMA = 1.1, 8.5  # pixels: finer is noise, coarser is brightness
_FLOOR = 0.7  # of the typical local contrast: flatter regions are not blown up to it
_FLOOR_PERCENTILE = 60
_SAMPLE = 4  # pixels between those that the percentile looks at


def remove_white_corners(grey_u8: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image, uint8 (H, W), with four white corners, as a rotation leaves them, continued from what they border on.

    A white corner is the strongest edge in a picture that is dark at its rim, and hides what is near. Only a triangle
    is taken for one: a bone or a strip of film that touches it is what the image shows, and would be filled in this
    copy alone. What fills a corner is what a filter sees beyond the border of the picture that was not turned.
    """
    white = grey_u8 >= _WHITE
    if not white[[0, 0, -1, -1], [0, -1, 0, -1]].all() or white.all():
        return grey_u8
    cleaned = grey_u8.copy()
    for flip in np.ndindex(2, 2):
        turned = tuple(slice(None, None, -1 if back else 1) for back in flip)
        _continue_into_corner(white[turned], cleaned[turned])
    return cleaned


def _continue_into_corner(white: NDArray[np.bool_], grey_u8: NDArray[np.uint8]) -> None:
    """Gives the largest white triangle in the corner (0, 0) of (H, W) the nearest pixels beyond its long side."""
    legs = _corner_triangle(white)
    if legs is None:
        return
    height, width = white.shape
    normal = np.array([legs[1], legs[0]]) / np.hypot(*legs)  # of the long side, pointing into the picture; (x, y)
    distance = normal[0] * legs[0] + _SEAM
    rows, columns = (grid.ravel() for grid in np.mgrid[: min(height, int(legs[1]) + 3), : min(width, int(legs[0]) + 3)])
    deep = distance - (normal[0] * (columns + 0.5) + normal[1] * (rows + 0.5))  # pixels to the long side
    rows, columns, deep = (values[deep > 0] for values in (rows, columns, deep))
    from_columns = np.clip(columns + np.ceil((deep + 1) * normal[0]), 0, width - 1).astype(int)
    from_rows = np.clip(rows + np.ceil((deep + 1) * normal[1]), 0, height - 1).astype(int)
    grey_u8[rows, columns] = grey_u8[from_rows, from_columns]


def _corner_triangle(white: NDArray[np.bool_]) -> tuple[float, float] | None:
    """(width, height) in pixels of the largest white triangle in the corner (0, 0); None: there is none.

    Its long side rests on the convex hull of the first pixels of each row that are not white.
    """
    rows = np.flatnonzero(~white.all(1))
    points = np.stack([white[rows].argmin(1) + 0.5, rows + 0.5], 1)
    try:
        sides = ConvexHull(points).equations
    except (QhullError, ValueError):  # fewer than three points, or all on one line
        return None
    towards = sides[(sides[:, :2] < -1e-9).all(1) & (sides[:, 2] > 0)]
    if not len(towards):
        return None
    legs = -towards[:, 2:] / towards[:, :2]
    return tuple(legs[legs.prod(1).argmax()].tolist())


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
