"""A bone as a solid of revolution, and the length of each ray's path through it.

A bone is a shell of cortical bone around spongy (trabecular) bone and marrow, turned about a gently
curved axis. A ray that passes the axis at distance v meets 2 * sqrt(R^2 - v^2) of a cylinder of
radius R, so outer and inner radius along the axis are all that a radiograph needs.

Everything that varies along the axis is kept in tables with one entry each quarter pixel. Pixels
look their entry up, which is fast, and exact: only +, -, *, / and sqrt touch a pixel, which IEEE 754
rounds alike on every processor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEPS_PER_PIXEL = 4
REACH_PX = 420
ALONG = np.arange(-REACH_PX * STEPS_PER_PIXEL, REACH_PX * STEPS_PER_PIXEL + 1) / STEPS_PER_PIXEL
# Sines and cosines are rounded to this many decimals: C libraries differ in the last of sixteen.
ANGLE_DECIMALS = 9


def direction(angle: float) -> tuple[float, float]:
    """Return cosine and sine of an angle in radians, rounded to what every C library agrees on."""
    return round(math.cos(angle), ANGLE_DECIMALS), round(math.sin(angle), ANGLE_DECIMALS)


@dataclass(frozen=True)
class Bend:
    """How the axis beyond the site differs from the axis before it."""

    offset: float = 0.0  # sideways step, pixels
    slope: float = 0.0  # tangent of the angle between both axes
    half_length: float = 24.0  # a whole bone makes the turn within this distance of u = 0, pixels


@dataclass(frozen=True)
class Plate:
    """A growth plate: a thin band of cartilage right across a young bone."""

    place: float  # position along the axis, pixels
    depth: float  # share of the bone missing in its middle, 0 to 1
    half_width: float  # pixels


@dataclass(frozen=True)
class Canal:
    """A nutrient canal: a vessel's steep, short tunnel through one wall of the shaft."""

    place: float  # position along the axis, pixels
    side: float  # distance from the axis, pixels, negative on the other side
    lean: float  # pixels along the axis for each pixel across
    depth: float  # share of the bone missing in its middle, 0 to 1


@dataclass(frozen=True)
class Bone:
    """One bone. Its site, u = 0, is where it breaks if it breaks."""

    x: float  # site, pixels from the left
    y: float  # site, pixels from the top
    angle: float  # direction of the axis, radians
    start: float  # proximal end, pixels along the axis, negative
    end: float  # distal end, pixels along the axis, positive
    radius: float  # of the shaft, pixels
    flare: float  # widening towards the ends, as a share of the radius
    cortex: float  # wall of the shaft, as a share of the radius
    marrow: float  # density inside the shaft, cortical bone being 1
    spongiosa: float  # density inside the ends, cortical bone being 1
    bend: Bend = Bend()
    plates: tuple[Plate, ...] = ()
    canal: Canal | None = None

    def beyond(self, u: float) -> tuple[float, float, float]:
        """Return x, y and angle of the axis at u, past the bend, in pixels and radians."""
        cosine, sine = direction(self.angle)
        v = self.bend.offset + self.bend.slope * u
        angle = self.angle + math.atan(self.bend.slope)
        return self.x + u * cosine - v * sine, self.y + u * sine + v * cosine, angle


class Window(NamedTuple):
    """The part of an image that a bone can touch."""

    rows: slice
    columns: slice


class Frame(NamedTuple):
    """A bone's own coordinates for each pixel of a window."""

    u: Array  # along the axis, pixels, (rows, columns)
    v: Array  # across the straight axis, pixels, (rows, columns)
    entry: NDArray[np.intp]  # index of u in the tables, (rows, columns)


class Tables(NamedTuple):
    """What varies along a bone, one float64 entry each quarter pixel."""

    outer_squared: Array  # outer radius squared, pixels^2
    inner_squared: Array  # radius of the spongy core squared, pixels^2
    sponge: Array  # density of the core, cortical bone being 1
    presence: Array  # share of bone that growth plates leave


def window(bone: Bone, height: int, width: int) -> Window:
    """Return the smallest window of a (height, width) image that holds the bone."""
    cosine, sine = direction(bone.angle)
    x_far, y_far, _ = bone.beyond(bone.end)
    margin = bone.radius * (1 + bone.flare) + abs(bone.bend.offset) + 3
    ends_x = (bone.x + bone.start * cosine, x_far, bone.x)
    ends_y = (bone.y + bone.start * sine, y_far, bone.y)
    left, right = int(max(min(ends_x) - margin, 0)), int(min(max(ends_x) + margin + 1, width))
    top, bottom = int(max(min(ends_y) - margin, 0)), int(min(max(ends_y) + margin + 1, height))
    return Window(slice(top, max(top, bottom)), slice(left, max(left, right)))


def frame(bone: Bone, place: Window) -> Frame:
    """Return the bone's coordinates of every pixel of the window."""
    cosine, sine = direction(bone.angle)
    x = np.arange(place.columns.start, place.columns.stop) - bone.x
    y = np.arange(place.rows.start, place.rows.stop)[:, None] - bone.y
    u = x * cosine + y * sine
    entry = np.rint(u * STEPS_PER_PIXEL).astype(np.intp) + REACH_PX * STEPS_PER_PIXEL
    return Frame(u, y * cosine - x * sine, np.clip(entry, 0, ALONG.size - 1))


def tables(bone: Bone) -> Tables:
    """Return radii, density and presence along the bone."""
    from_end = np.minimum(ALONG - bone.start, bone.end - ALONG)
    widening = np.clip(1 - from_end / (2.6 * bone.radius), 0, 1)
    widening = widening * widening * (3 - 2 * widening)
    cap = np.clip(from_end / (0.7 * bone.radius), 0, 1)
    outer = bone.radius * (1 + bone.flare * widening) * np.sqrt(cap * (2 - cap))
    wall = bone.radius * bone.cortex * (1 - 0.72 * widening)
    inner = np.maximum(outer - wall, 0)
    sponge = bone.marrow + (bone.spongiosa - bone.marrow) * widening
    return Tables(outer * outer, inner * inner, sponge, plate_presence(bone.plates))


def plate_presence(plates: tuple[Plate, ...]) -> Array:
    """Return the share of bone that growth plates leave along the axis; their rims are denser."""
    presence = np.ones_like(ALONG)
    for plate in plates:
        distance = np.abs(ALONG - plate.place) / plate.half_width
        gap = np.clip(1.4 - distance, 0, 1)
        rim = np.clip(1 - np.abs(distance - 2.2), 0, 1)
        presence = presence * (1 - plate.depth * gap + 0.18 * rim)
    return presence


def whole_axis(bend: Bend) -> Array:
    """Return the sideways position of an unbroken bone's axis along u: a smooth turn, in pixels."""
    half = bend.half_length
    turn = np.clip((ALONG + half) / (2 * half), 0, 1)
    bow = np.where(ALONG < half, bend.slope * half * turn * turn, bend.slope * ALONG)
    return bend.offset * (turn * turn * (3 - 2 * turn)) + bow


def path_length(table: Tables, place: Frame, axis: Array, texture: Array) -> Array:
    """Return each ray's way through the bone, as pixels of cortical bone.

    Args:
        table: The bone's tables.
        place: The bone's coordinates, each (rows, columns).
        axis: Sideways position of the axis along u, pixels, one entry each quarter pixel.
        texture: Relative unevenness of the spongy bone, (rows, columns), mean 0.

    Returns:
        float64 (rows, columns), 0 outside the bone.
    """
    v = place.v - axis[place.entry]
    v_squared = v * v
    outer = np.sqrt(np.maximum(table.outer_squared[place.entry] - v_squared, 0))
    inner = np.sqrt(np.maximum(table.inner_squared[place.entry] - v_squared, 0))
    core = table.sponge[place.entry] * (1 + texture)
    return 2 * table.presence[place.entry] * (outer - inner + inner * core)


def canal_presence(canal: Canal, place: Frame) -> Array:
    """Return the share of bone that a nutrient canal leaves, (rows, columns), 0 to 1."""
    across = np.abs(place.v - canal.side)
    along = np.abs(place.u - canal.place - canal.lean * (place.v - canal.side))
    return 1 - canal.depth * np.clip(1.6 - along * 0.45, 0, 1) * np.clip(3.5 - across, 0, 1)
