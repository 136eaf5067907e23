"""The second opinion: two files at full resolution, laid over one another, compared in their finest common structure.

Radiographs of one body part in one pose, by one machine, agree in everything coarse. Trabeculae, edges and noise at the
scale of a few pixels agree only in copies: this is where they are told apart.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from edge_runtime.images import read_grey
from train.audit.copies.coherence import phase_coherence
from train.audit.copies.neighbours import Ints
from train.audit.copies.registration import Images, Maps, compose, correlate, refine
from train.audit.copies.smoothing import pool, smooth
from train.audit.copies.view_files import ViewFiles
from train.audit.copies.views import disc, remove_white_corners, view_half_sides

SIDE = 192  # pixels of the compared square
_PYRAMID = ((2, 5), (1, 4))  # (reduction of half the size, iterations) from coarse to fine
_COARSE = 3.0  # sigma in pixels of half the size; coarser structure is brightness
_FINE, _BROAD = 1.0, 3.0  # sigmas in pixels of the band that decides
_LOCAL_BOX = 15  # pixels; window of the local contrast
_NOISE_VARIANCE = 2.0  # grey levels squared: what JPEG leaves in a flat area
# Pairs compared at a time. Their images stay decoded until the pair is done, for two threads at once: a radiograph of
# 2500 pixels takes longer to decode than to compare.
_PAIRS = 16
_CACHED_IMAGES = 64


class CloserLook:
    """Compares files of one data set at full resolution."""

    def __init__(self, views: ViewFiles) -> None:
        """Remembers which image each view is of, and where that image is."""
        self._views = views
        self._read = lru_cache(_CACHED_IMAGES)(lambda image: remove_white_corners(read_grey(views.path(image))))

    def compare(self, first: Ints, second: Ints, maps: Maps) -> tuple[Maps, NDArray[np.float64], NDArray[np.float64]]:
        """(better maps, agreement and phase coherence, both at most 1) of n > 0 pairs under maps of scale 1 or more."""
        chunks = [slice(start, start + _PAIRS) for start in range(0, len(maps), _PAIRS)]
        seen = [self._compare(first[chunk], second[chunk], maps[chunk]) for chunk in chunks]
        better, agreement, coherence = (np.concatenate(column) for column in zip(*seen, strict=True))
        return better, agreement, coherence

    def _compare(self, first: Ints, second: Ints, maps: Maps) -> tuple[Maps, NDArray[np.float64], NDArray[np.float64]]:
        linear = maps[:, :, :2]
        # The square holds the part of the first view that the second one shows.
        shown = np.minimum(1.0, 1 / np.sqrt(np.abs(np.linalg.det(linear)) + 1e-9))
        frames = np.zeros_like(maps)
        frames[:, [0, 1], [0, 1]] = shown[:, None]
        fixed = self._render(first, frames)
        moved = self._render(second, compose(maps, frames))
        corrections = _register(fixed, moved)
        moved = self._render(second, compose(compose(maps, frames), corrections))
        agreement, coherence = _agree(fixed, moved)
        unframes = np.zeros_like(maps)
        unframes[:, [0, 1], [0, 1]] = 1 / shown[:, None]
        return compose(compose(maps, frames), compose(corrections, unframes)), agreement, coherence

    def _render(self, views: Ints, maps: Maps) -> Images:
        """float32 (n, SIDE, SIDE), grey 0 to 255: views through maps from the compared square."""
        return np.stack([self._render_one(view, one) for view, one in zip(views, maps, strict=True)])

    def _render_one(self, view: int, view_map: NDArray[np.float64]) -> NDArray[np.float32]:
        grey_u8 = self._read(int(self._views.owners[view]))
        height, width = grey_u8.shape
        half = np.array(view_half_sides(width, height)[self._views.kinds[view]])
        to_file = view_map * half[:, None]
        to_file[:, 2] += (width / 2, height / 2)
        return _transform(grey_u8, to_file)


def _transform(grey_u8: NDArray[np.uint8], to_file: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 (SIDE, SIDE) through a (2, 3) map from units to file pixels; reduced first where it would alias."""
    image = Image.fromarray(grey_u8)
    pixels_a_pixel = np.sqrt(abs(np.linalg.det(to_file[:, :2]))) * 2 / SIDE
    if pixels_a_pixel > 1.15:
        size = (max(8, round(image.width / pixels_a_pixel)), max(8, round(image.height / pixels_a_pixel)))
        to_file = to_file * np.array([[size[0] / image.width], [size[1] / image.height]])
        image = image.resize(size, Image.Resampling.BICUBIC)
    step = to_file[:, :2] * (2 / SIDE)
    offset = to_file[:, 2] - to_file[:, :2].sum(1)
    coefficients = (step[0, 0], step[0, 1], offset[0], step[1, 0], step[1, 1], offset[1])
    bicubic = Image.Resampling.BICUBIC
    return np.asarray(image.transform((SIDE, SIDE), Image.Transform.AFFINE, coefficients, bicubic), np.float32)


def _register(fixed: Images, moved: Images) -> Maps:
    """Maps (n, 2, 3) from fixed to moved that are near the identity."""
    count = len(fixed)
    # Half the size holds all that guides the descent, at an eighth of the cost.
    both = pool(np.concatenate([fixed, moved]), 2)
    structure = both - smooth(both, _COARSE)
    structure /= np.sqrt(smooth(structure * structure, _COARSE) + _NOISE_VARIANCE)
    first = np.arange(count)
    maps = np.zeros((count, 2, 3))
    maps[:, [0, 1], [0, 1]] = 1
    for reduction, iterations in _PYRAMID:
        maps, _ = refine(pool(structure, reduction), first, first + count, maps, iterations)
    return maps


def _agree(fixed: Images, moved: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation and phase coherence of the finest structure, each place weighing alike whatever its contrast."""
    mask = np.broadcast_to(disc(SIDE), fixed.shape).astype(np.float32)
    fixed_texture, moved_texture = _texture(fixed), _texture(moved)
    return correlate(fixed_texture, moved_texture, mask), phase_coherence(fixed_texture, moved_texture)


def _texture(images: Images) -> Images:
    band = gaussian_filter(images, _FINE, axes=(1, 2), truncate=3) - gaussian_filter(
        images, _BROAD, axes=(1, 2), truncate=3
    )
    return band / np.sqrt(uniform_filter(band * band, _LOCAL_BOX, axes=(1, 2)).clip(0) + _NOISE_VARIANCE)
