"""White corners of a rotation are removed; a white bone or a strip of film is what the image shows."""

from __future__ import annotations

import numpy as np
from PIL import Image

from train.audit.copies.views import remove_white_corners

from ..conftest import draw_image


def test_white_corners_of_a_rotation_are_filled() -> None:
    rotated = Image.fromarray(np.minimum(draw_image(0), 200)).rotate(30, expand=True, fillcolor=255)
    grey_u8 = np.asarray(rotated)
    cleaned = remove_white_corners(grey_u8)
    assert cleaned.max() <= 200
    assert (cleaned[grey_u8 <= 200] == grey_u8[grey_u8 <= 200]).all()


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
