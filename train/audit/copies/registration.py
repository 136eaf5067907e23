"""Laying one view over another: affine registration of many pairs at once.

A Gauss-Newton descent on the squared difference with the mean of both gradients (efficient second-order minimisation,
Benhimane and Malis 2004), over a pyramid. Maps are (2, 3) matrices that take points of the first view to the second,
in units where the inscribed disc has radius 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.audit.copies.views import disc, unit_grid

Maps = NDArray[np.float64]  # (n, 2, 3)
Images = NDArray[np.float32]  # (n, side, side)

_DAMPING = 0.02  # of the mean curvature: keeps flat pairs from leaping
_LARGEST_STEP = 0.15  # of the disc's radius


def turn_maps(angles: NDArray[np.float64], mirrored: NDArray[np.bool_], scales: NDArray[np.float64]) -> Maps:
    """Maps (n, 2, 3) that rotate by angles (radians), mirror before that where asked, and scale."""
    cosine, sine, sign = np.cos(angles), np.sin(angles), np.where(mirrored, -1.0, 1.0)
    maps = np.zeros((len(angles), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cosine, -sine * sign
    maps[:, 1, 0], maps[:, 1, 1] = sine, cosine * sign
    maps[:, :, :2] *= scales[:, None, None]
    return maps


def compose(outer: Maps, inner: Maps) -> Maps:
    """Maps (n, 2, 3) that apply inner, then outer."""
    result = np.zeros_like(outer)
    result[:, :, :2] = outer[:, :, :2] @ inner[:, :, :2]
    result[:, :, 2] = (outer[:, :, :2] @ inner[:, :, 2:])[:, :, 0] + outer[:, :, 2]
    return result


def invert(maps: Maps) -> Maps:
    """The inverse maps (n, 2, 3)."""
    linear = np.linalg.inv(maps[:, :, :2])
    return np.concatenate([linear, -(linear @ maps[:, :, 2:])], axis=2)


def warp(images: Images, chosen: NDArray[np.int64], maps: Maps) -> tuple[Images, NDArray[np.bool_]]:
    """(images[chosen] through the maps, bilinear; where these lie in the second view's disc), both (n, side, side)."""
    side = images.shape[1]
    x, y = unit_grid(side)
    m = maps.astype(np.float32)[:, :, :, None, None]
    to_x = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    to_y = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    inside = to_x * to_x + to_y * to_y <= 1
    column = np.clip((to_x + 1) * (side / 2) - 0.5, 0, side - 1.001)
    row = np.clip((to_y + 1) * (side / 2) - 0.5, 0, side - 1.001)
    left, top = column.astype(np.int32), row.astype(np.int32)
    right, down = column - left, row - top
    base = (chosen[:, None, None] * side + top) * side + left
    pixels = images.reshape(-1)
    upper = pixels.take(base) * (1 - right) + pixels.take(base + 1) * right
    lower = pixels.take(base + side) * (1 - right) + pixels.take(base + side + 1) * right
    return upper * (1 - down) + lower * down, inside


def refine(
    images: Images, first: NDArray[np.int64], second: NDArray[np.int64], maps: Maps, iterations: int
) -> tuple[Maps, NDArray[np.float64]]:
    """(better maps, correlation of each pair under them).

    Args:
        images: float32 (m, side, side), brightness already normalised.
        first: int64 (n,), index of each pair's first image.
        second: int64 (n,), of its second.
        maps: (n, 2, 3), first guesses within about a quarter wavelength of the coarsest structure.
        iterations: Gauss-Newton steps.
    """
    if not len(first):
        return maps, np.zeros(0)
    side = images.shape[1]
    fixed, inscribed = images[first], disc(side)
    fixed_dy, fixed_dx = np.gradient(fixed, axis=(1, 2))
    for _ in range(iterations):
        moved, inside = warp(images, second, maps)
        mask = (inside & inscribed).astype(np.float32)
        moved_dy, moved_dx = np.gradient(moved, axis=(1, 2))
        # Pixels to units: side / 2; the mean of two gradients: another half.
        step = _solve(
            (fixed_dx + moved_dx) * (side / 4) * mask, (fixed_dy + moved_dy) * (side / 4) * mask, fixed - moved
        )
        maps = compose(maps, step)
    moved, inside = warp(images, second, maps)
    return maps, correlate(fixed, moved, (inside & inscribed).astype(np.float32))


def _solve(dx: Images, dy: Images, difference: Images) -> Maps:
    """The damped Gauss-Newton steps (n, 2, 3), as maps near the identity."""
    count, side = dx.shape[:2]
    x, y = unit_grid(side)
    jacobian = np.stack([dx * x, dx * y, dx, dy * x, dy * y, dy], 1).reshape(count, 6, -1)
    curvature = jacobian @ jacobian.transpose(0, 2, 1)
    damping = _DAMPING * np.trace(curvature, axis1=1, axis2=2) / 6 + 1e-6
    curvature += damping[:, None, None] * np.eye(6, dtype=np.float32)
    step = np.linalg.solve(curvature, jacobian @ difference.reshape(count, -1, 1))[:, :, 0]
    maps = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP).reshape(count, 2, 3).astype(np.float64)
    maps[:, :, :2] += np.eye(2)
    return maps


def correlate(first: Images, second: Images, mask: Images) -> NDArray[np.float64]:
    """Pearson correlation (n,) of image pairs (n, side, side) under a mask of weights 0 to 1."""
    weight = mask.sum((1, 2), keepdims=True) + 1e-6
    a = (first - (first * mask).sum((1, 2), keepdims=True) / weight) * mask
    b = (second - (second * mask).sum((1, 2), keepdims=True) / weight) * mask
    return (a * b).sum((1, 2)) / np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2)) + 1e-9)
