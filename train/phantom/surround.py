"""What surrounds a bone in a radiograph: soft tissue, skin folds, lead letters, collimated borders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from train.phantom.anatomy import NOMINAL_SIDE, Limb
from train.phantom.bone import Array, direction
from train.phantom.chance import Chance
from train.phantom.detector import enlarged

LEAD_MM = 60.0  # a lead letter, as millimetres of cortical bone
# Strokes of the letters on a 4 x 6 grid, (x, y) to (x, y).
LETTERS = {
    "L": (((0, 0), (0, 6)), ((0, 6), (4, 6))),
    "R": (
        ((0, 0), (0, 6)),
        ((0, 0), (3, 0)),
        ((3, 0), (4, 1.5)),
        ((4, 1.5), (3, 3)),
        ((3, 3), (0, 3)),
        ((1.5, 3), (4, 6)),
    ),
}


@dataclass(frozen=True)
class Marker:
    """One lead letter near a corner."""

    letter: str  # a key of LETTERS
    x: float  # left edge, pixels
    y: float  # top edge, pixels
    size: float  # pixels of one grid step
    stroke: float  # half the stroke's width, pixels
    mirrored: bool  # laid face down


@dataclass(frozen=True)
class Fold:
    """A skin fold or dressing: one side of a curved line has a little more tissue."""

    x: float  # a point of the line, pixels
    y: float  # the same, pixels
    angle: float  # direction of the line, radians
    curvature: float  # pixels sideways for each squared pixel along
    softness: float  # pixels over which the step rises
    depth_mm: float  # height of the step, millimetres


@dataclass(frozen=True)
class Collimation:
    """The lit field: four straight edges, turned a little."""

    margins: tuple[float, float, float, float]  # left, top, right, bottom, pixels; negative is none
    tilt: float  # pixels sideways for each pixel along an edge
    shutter: bool  # the border is blackened by the console; else it is lead-white


def draw_marker(chance: Chance, height: int, width: int) -> Marker:
    """Return a letter in one of the corners, clear of the middle of the image."""
    unit = min(height, width) / NOMINAL_SIDE
    size = chance.uniform(1.2, 2.0) * unit
    across, down = chance.uniform(0.05, 0.1), chance.uniform(0.05, 0.1)
    x = width * across if chance.happens(0.5) else width * (1 - across) - 4 * size
    y = height * down if chance.happens(0.5) else height * (1 - down) - 6 * size
    return Marker(chance.pick("LR"), x, y, size, chance.uniform(0.7, 1.2) * unit, chance.happens(0.15))


def draw_fold(chance: Chance, height: int, width: int) -> Fold:
    """Return a fold anywhere in the image."""
    return Fold(
        x=chance.uniform(0.1, 0.9) * width,
        y=chance.uniform(0.1, 0.9) * height,
        angle=chance.uniform(0, 2 * math.pi),
        curvature=chance.uniform(-0.004, 0.004),
        softness=chance.uniform(1.0, 5.0),
        depth_mm=chance.uniform(0.8, 4.0),
    )


def draw_collimation(chance: Chance, height: int, width: int) -> Collimation:
    """Return a lit field that leaves the middle of the image alone."""
    shorter = min(height, width)
    left, top, right, bottom = (
        chance.uniform(0.015, 0.085) * shorter if chance.happens(0.45) else -1000.0 for _ in range(4)
    )
    return Collimation((left, top, right, bottom), chance.uniform(-0.04, 0.04), chance.happens(0.7))


def soft_tissue(limbs: tuple[Limb, ...], folds: tuple[Fold, ...], lumps: Array, height: int, width: int) -> Array:
    """Return soft tissue on each ray, millimetres, (height, width).

    Args:
        limbs: Limbs; where they overlap the thicker one counts.
        folds: Folds, added inside the limbs.
        lumps: Unevenness of muscle and fat on a coarse grid, mean 0.
        height: Pixels.
        width: Pixels.
    """
    x, y = np.arange(width), np.arange(height)[:, None]
    share = np.zeros((height, width))
    tissue = np.zeros((height, width))
    for limb in limbs:
        chord = limb_chord(limb, x, y)
        share = np.maximum(share, chord)
        tissue = np.maximum(tissue, chord * limb.depth_mm)
    tissue = tissue * (1 + enlarged(lumps, height, width))
    inside = np.minimum(share * 3, 1)
    for fold in folds:
        tissue += inside * fold_step(fold, x, y)
    return np.maximum(tissue, 0)


def limb_chord(limb: Limb, x: Array, y: Array) -> Array:
    """Return the way through a limb as a share of the way through its axis, (H, W)."""
    cosine, sine = direction(limb.angle)
    u = (x - limb.x) * cosine + (y - limb.y) * sine
    v = (y - limb.y) * cosine - (x - limb.x) * sine
    past = np.maximum(u - limb.end, 0)
    return np.sqrt(np.maximum(1 - (v * v + past * past) / (limb.half_width * limb.half_width), 0))


def fold_step(fold: Fold, x: Array, y: Array) -> Array:
    """Return the tissue that a fold adds, millimetres, (H, W)."""
    cosine, sine = direction(fold.angle)
    u = (x - fold.x) * cosine + (y - fold.y) * sine
    v = (y - fold.y) * cosine - (x - fold.x) * sine
    return fold.depth_mm * np.clip((v - fold.curvature * u * u) / fold.softness, 0, 1)


def add_marker(bone_mm: Array, marker: Marker) -> None:
    """Lay a lead letter over the bones, in place."""
    height, width = bone_mm.shape
    left, top = max(int(marker.x) - 4, 0), max(int(marker.y) - 4, 0)
    right, bottom = min(int(marker.x + 4 * marker.size) + 5, width), min(int(marker.y + 6 * marker.size) + 5, height)
    x = np.arange(left, right) - marker.x
    x = 4 * marker.size - x if marker.mirrored else x
    y = (np.arange(top, bottom) - marker.y)[:, None]
    for start, stop in LETTERS[marker.letter]:
        distance = segment_distance(x / marker.size, y / marker.size, start, stop) * marker.size
        stroke = LEAD_MM * np.clip(marker.stroke + 0.5 - distance, 0, 1)
        bone_mm[top:bottom, left:right] = np.maximum(bone_mm[top:bottom, left:right], stroke)


def segment_distance(x: Array, y: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
    """Return the distance of each point (x, y) from the segment."""
    run, rise = stop[0] - start[0], stop[1] - start[1]
    share = np.clip(((x - start[0]) * run + (y - start[1]) * rise) / (run * run + rise * rise), 0, 1)
    across, down = x - start[0] - share * run, y - start[1] - share * rise
    return np.sqrt(across * across + down * down)


def lit_field(collimation: Collimation, height: int, width: int) -> Array:
    """Return how far each pixel lies inside the lit field, (height, width): 0 outside, 1 inside."""
    left, top, right, bottom = collimation.margins
    x, y = np.arange(width), np.arange(height)[:, None]
    lean_x, lean_y = collimation.tilt * (y - height / 2), collimation.tilt * (x - width / 2)
    from_side = np.minimum(x - left - lean_x, width - right - x + lean_x)
    from_end = np.minimum(y - top + lean_y, height - bottom - y - lean_y)
    return np.clip(np.minimum(from_side, from_end) / 1.5, 0, 1)
