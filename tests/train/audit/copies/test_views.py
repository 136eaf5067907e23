"""White corners of a rotation are removed; a white bone or a strip of film is what the image shows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from train.audit.copies.views import remove_white_corners

from ..conftest import draw_image

SEAM = 3  # pixels beside the picture's own border that may be filled too
MARGIN = 80  # pixels around a picture, wider than any corner


def rotate(grey_u8: NDArray[np.uint8], angle: float, expand: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The rotated image with white corners, and what is the image's own in it, but for a seam."""
    turned = np.asarray(Image.fromarray(grey_u8).rotate(angle, expand=expand, fillcolor=255))
    wide = Image.fromarray(np.pad(np.ones_like(grey_u8), MARGIN)).rotate(angle)
    own = binary_erosion(np.asarray(wide) == 1, iterations=SEAM)
    top, left = ((outer - inner) // 2 for outer, inner in zip(own.shape, turned.shape, strict=True))
    return turned, own[top : top + turned.shape[0], left : left + turned.shape[1]]


@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("angle", [8, 30, -70])
def test_white_corners_of_a_rotation_are_filled(angle: float, expand: bool) -> None:
    grey_u8, own = rotate(np.minimum(draw_image(0), 200), angle, expand)
    cleaned = remove_white_corners(grey_u8)
    assert cleaned.max() <= 200
    assert (cleaned[own] == grey_u8[own]).all()


def test_a_white_bone_that_touches_a_white_corner_stays() -> None:
    bone_u8 = np.full((120, 100), 40, np.uint8)
    bone_u8[:, 42:58] = 255
    grey_u8, own = rotate(bone_u8, 25, True)
    cleaned = remove_white_corners(grey_u8)
    assert (cleaned[own] == grey_u8[own]).all()
    assert (cleaned == 255).mean() < 0.25  # the bone goes on into its corners, all else is dark


def test_a_corner_is_what_a_filter_sees_beyond_the_border() -> None:
    half_u8 = np.full((100, 100), 40, np.uint8)
    half_u8[:, 50:] = 160
    cleaned = remove_white_corners(rotate(half_u8, 20, False)[0])
    assert set(np.unique(cleaned)) == {40, 160}


def test_a_white_bone_that_touches_the_border_stays() -> None:
    grey_u8 = np.full((80, 60), 40, np.uint8)
    grey_u8[:, 25:35] = 255
    assert (remove_white_corners(grey_u8) == grey_u8).all()


def test_a_white_strip_along_one_side_stays() -> None:
    grey_u8 = np.full((80, 60), 40, np.uint8)
    grey_u8[:, 50:] = 255
    assert (remove_white_corners(grey_u8) == grey_u8).all()


def test_a_white_image_stays() -> None:
    white = np.full((20, 20), 255, np.uint8)
    assert (remove_white_corners(white) == white).all()
