"""Fractures: where a bone's two parts end, how far they moved, and what a ray then meets.

A break is a plane through a tube. Seen obliquely, its front and its back edge project as two lines
that meet at the walls; their slope and their distance (the bulge) make transverse, oblique and
spiral-like breaks. The far part does not swing away: both parts lie on the axes that the scene has
drawn for the whole bone too. The whole bone joins these axes by a smooth curve, the broken one by a
step or a kink, so nothing outside the site's neighbourhood can tell one from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.phantom.bone import ALONG, Array, Bone, Frame, Tables, path_length, whole_axis
from train.phantom.chance import Chance

DISPLACED = "displaced"
ANGULATED = "angulated"
HAIRLINE = "hairline"
KINDS = (DISPLACED, ANGULATED, HAIRLINE)

# How often a break is subtle, and the distance between its parts in pixels if it is and if it is not.
# Subtle ones (impacted, or a thin line part of the way) keep the task from being solved outright;
# clear ones are what a network learns from within a few hundred steps.
SUBTLE = {DISPLACED: 0.2, ANGULATED: 0.3, HAIRLINE: 0.55}
SUBTLE_GAP = {DISPLACED: (-3.0, 0.5), ANGULATED: (-1.0, 0.8), HAIRLINE: (1.0, 2.2)}
CLEAR_GAP = {DISPLACED: (4.0, 8.0), ANGULATED: (4.0, 7.0), HAIRLINE: (3.5, 5.5)}

TEETH = 64
WIDEST_GAP_PX = 12.0


@dataclass(frozen=True)
class Fracture:
    """One break at a bone's site, u = 0."""

    kind: str  # one of KINDS
    slope: float  # lean of the break, pixels along the axis for each pixel across
    bulge: float  # half the distance between front and back edge at the axis, pixels
    gap: float  # distance between the parts, pixels; negative where they overlap
    opening: float  # growth of the gap across the bone, pixels for each pixel
    softness: float  # pixels along which an edge fades
    depth: float  # share of bone missing in a hairline, 0 to 1
    reach: float  # how far a hairline runs across, as a share of the radius, -1 to 1.2
    teeth: Array  # raggedness of the edge, pixels, (TEETH,), one entry each pixel across


def draw_fracture(chance: Chance, kind: str, bone: Bone, unit: float) -> Fracture:
    """Return a fracture of this kind, fit for this bone.

    Args:
        chance: The stream to draw from.
        kind: One of KINDS.
        bone: The bone that breaks.
        unit: Pixels of this image for each pixel of a nominal one.
    """
    style = chance.pick(("transverse", "oblique", "spiral"))
    slope = {"transverse": (0.0, 0.25), "oblique": (0.35, 0.8), "spiral": (0.5, 0.9)}[style]
    bulge = {"transverse": (0.0, 1.2), "oblique": (0.3, 2.0), "spiral": (2.0, 5.0)}[style]
    subtle = chance.happens(SUBTLE[kind])
    gap = (SUBTLE_GAP if subtle else CLEAR_GAP)[kind]
    return Fracture(
        kind=kind,
        slope=chance.either_sign(*slope),
        bulge=chance.uniform(*bulge) * unit,
        gap=chance.uniform(*gap) * unit,
        opening=0.8 * bone.bend.slope if kind == ANGULATED else 0.0,
        softness=chance.uniform(0.8, 1.8) * unit,
        depth=chance.uniform(0.3, 0.6) if subtle else chance.uniform(0.8, 1.0),
        reach=chance.uniform(0.2, 1.2) if subtle else 1.2,
        teeth=ragged_edge(chance, unit),
    )


def ragged_edge(chance: Chance, unit: float) -> Array:
    """Return the raggedness of a break, pixels, (TEETH,): a bounded random walk, one step a pixel."""
    walk, teeth = 0.0, []
    for _ in range(TEETH):
        walk = 0.8 * walk + chance.uniform(-0.7, 0.7) * unit
        teeth.append(walk)
    return np.array(teeth)


def broken_path_length(bone: Bone, fracture: Fracture, table: Tables, place: Frame, texture: Array) -> Array:
    """Return each ray's way through the broken bone, as pixels of cortical bone, (rows, columns)."""
    if fracture.kind == HAIRLINE:
        axis = whole_axis(bone.bend)
        return path_length(table, place, axis, texture) * hairline_presence(bone, fracture, place, axis)
    near_axis = np.zeros_like(ALONG)
    far_axis = bone.bend.offset + bone.bend.slope * ALONG
    near = path_length(table, place, near_axis, texture) * part_presence(bone, fracture, place, near_axis, -1)
    far = path_length(table, place, far_axis, texture) * part_presence(bone, fracture, place, far_axis, 1)
    return near + far


def break_lines(bone: Bone, fracture: Fracture, v: Array) -> tuple[Array, Array]:
    """Return u of the break's front and back edge at v from the axis, pixels, like v."""
    tooth = np.clip(np.rint(v).astype(np.intp) + TEETH // 2, 0, TEETH - 1)
    middle = fracture.slope * np.clip(v, -bone.radius, bone.radius) + fracture.teeth[tooth]
    bulge = fracture.bulge * np.maximum(1 - (v / bone.radius) * (v / bone.radius), 0)
    return middle - bulge, middle + bulge


def part_presence(bone: Bone, fracture: Fracture, place: Frame, axis: Array, side: int) -> Array:
    """Return how much of the near (side -1) or far (side 1) part a ray meets, 0 to 1."""
    v = place.v - axis[place.entry]
    half_gap = np.clip((fracture.gap + fracture.opening * v) / 2, -WIDEST_GAP_PX / 2, WIDEST_GAP_PX / 2)
    front, back = break_lines(bone, fracture, v)
    first = np.clip(0.5 + (side * (place.u - front) - half_gap) / fracture.softness, 0, 1)
    second = np.clip(0.5 + (side * (place.u - back) - half_gap) / fracture.softness, 0, 1)
    return (first + second) / 2


def hairline_presence(bone: Bone, fracture: Fracture, place: Frame, axis: Array) -> Array:
    """Return the share of bone that a hairline leaves, (rows, columns), 0 to 1."""
    v = place.v - axis[place.entry]
    front, back = break_lines(bone, fracture, v)
    half_width = fracture.gap / 2
    first = np.clip((half_width - np.abs(place.u - front)) / fracture.softness + 0.5, 0, 1)
    second = np.clip((half_width - np.abs(place.u - back)) / fracture.softness + 0.5, 0, 1)
    fade = np.clip(fracture.reach * bone.radius - v, 0, 1)
    return 1 - fracture.depth * fade * (first + second) / 2
