"""Anatomies: which bones lie where, and the limbs around them.

Every arrangement has one host, the bone whose site lies near the middle of the image. The host is
chosen, bent and placed without knowing whether it will be broken: a whole bone has a host, too.
Lengths are in pixels of an image whose shorter side is NOMINAL_SIDE, times ``unit``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from train.phantom.bone import Bend, Bone, Canal, Plate, direction
from train.phantom.chance import Chance
from train.phantom.fracture import ANGULATED, DISPLACED, KINDS

NOMINAL_SIDE = 140  # pixels of the image in which lengths below are given
SITE_JITTER = 0.03  # farthest distance of the site from the middle, as a share of each side

UPRIGHT_TILT = 0.3  # radians to either side
FREE_POSE = 0.1  # share of limbs that lie at any angle


@dataclass(frozen=True)
class Limb:
    """Soft tissue around bones: an elliptic cylinder with a rounded end."""

    x: float  # a point of the axis, pixels from the left
    y: float  # the same, pixels from the top
    angle: float  # direction of the axis, radians
    end: float  # where it rounds off, pixels along the axis
    half_width: float  # pixels
    depth_mm: float  # thickness at the axis, millimetres


@dataclass(frozen=True)
class Arrangement:
    """Bones and limbs of one scene; the host is the first bone."""

    anatomy: str  # name of the arrangement
    fracture_kind: str  # how the host breaks if it breaks
    bones: tuple[Bone, ...]
    limbs: tuple[Limb, ...]
    mm_per_pixel: float  # millimetres of bone for each pixel of path


@dataclass(frozen=True)
class Site:
    """Where and how the host lies."""

    x: float  # pixels from the left
    y: float  # pixels from the top
    angle: float  # radians
    bend: Bend


def arrange(chance: Chance, height: int, width: int) -> Arrangement:
    """Return one arrangement for an image of this height and width in pixels."""
    unit = min(height, width) / NOMINAL_SIDE
    kind = chance.pick(KINDS)
    site = Site(
        x=width * (0.5 + chance.uniform(-SITE_JITTER, SITE_JITTER)),
        y=height * (0.5 + chance.uniform(-SITE_JITTER, SITE_JITTER)),
        angle=draw_angle(chance),
        bend=draw_bend(chance, kind, unit),
    )
    anatomy = chance.pick(tuple(ANATOMIES))
    bones, limbs, mm_per_pixel = ANATOMIES[anatomy](chance, site, unit)
    young = chance.happens(0.3)
    bones = [with_details(chance, bone, young, unit) for bone in bones]
    return Arrangement(anatomy, kind, tuple(bones), tuple(limbs), mm_per_pixel / unit)


def draw_angle(chance: Chance) -> float:
    """Return the direction of the host, radians: mostly upright on the film, sometimes any."""
    if chance.happens(FREE_POSE):
        return chance.uniform(0, 2 * math.pi)
    return chance.pick((0.5, 1.5)) * math.pi + chance.uniform(-UPRIGHT_TILT, UPRIGHT_TILT)


def draw_bend(chance: Chance, kind: str, unit: float) -> Bend:
    """Return the bend that a host of this kind has, broken or whole."""
    offset, slope = chance.uniform(-1, 1) * unit, chance.uniform(-0.06, 0.06)
    if kind == DISPLACED:
        offset = chance.either_sign(3, 7) * unit
    if kind == ANGULATED:
        slope = chance.either_sign(0.12, 0.3)
    return Bend(offset, slope, 27 * unit)


def draw_shaft(chance: Chance, site: Site, radius: float, start: float, end: float) -> Bone:
    """Return a long bone with its site at ``site``, all lengths in pixels."""
    return Bone(
        x=site.x,
        y=site.y,
        angle=site.angle,
        start=start,
        end=end,
        radius=radius,
        flare=chance.uniform(0.3, 0.7),
        cortex=chance.uniform(0.25, 0.42),
        marrow=chance.uniform(0.04, 0.14),
        spongiosa=chance.uniform(0.22, 0.36),
        bend=site.bend,
    )


def with_details(chance: Chance, bone: Bone, young: bool, unit: float) -> Bone:
    """Return the bone with growth plates (if young) and, sometimes, a nutrient canal."""
    plates = [
        Plate(place, chance.uniform(0.4, 0.8), chance.uniform(0.9, 1.6) * unit)
        for place in (bone.start + 0.9 * bone.radius, bone.end - 0.9 * bone.radius)
        if young
    ]
    if chance.happens(0.12):  # a scar or a harmless groove somewhere on the shaft
        place = chance.uniform(-25, 25) * unit
        plates.append(Plate(place, chance.uniform(0.1, 0.3), chance.uniform(0.8, 1.4) * unit))
    side = chance.either_sign(0.55, 0.8) * bone.radius
    canal = Canal(chance.uniform(-25, 25) * unit, side, chance.either_sign(1.8, 3.5), chance.uniform(0.2, 0.5))
    return replace(bone, plates=tuple(plates), canal=canal if chance.happens(0.3) else None)


def beside(site: Site, along: float, across: float, turn: float) -> Site:
    """Return a straight bone's site, moved along and across the host's axis, turned by radians."""
    cosine, sine = direction(site.angle)
    x = site.x + along * cosine - across * sine
    y = site.y + along * sine + across * cosine
    return Site(x, y, site.angle + turn, Bend())


def next_bone(chance: Chance, bone: Bone, gap: float, length: float, radius: float) -> Bone:
    """Return the bone that follows ``bone`` across a joint gap, all lengths in pixels."""
    x, y, angle = bone.beyond(bone.end + gap + length / 2)
    turn = chance.uniform(-0.06, 0.06)
    return draw_shaft(chance, Site(x, y, angle + turn, Bend()), radius, -length / 2, length / 2)


def around(site: Site, half_width: float, depth_mm: float, end: float = 1000.0) -> Limb:
    """Return a limb along the axis of ``site``."""
    return Limb(site.x, site.y, site.angle, end, half_width, depth_mm)


Anatomy = tuple[list[Bone], list[Limb], float]


def upper_arm(chance: Chance, site: Site, unit: float) -> Anatomy:
    """Return one stout shaft, with one or no end in sight."""
    radius = chance.uniform(10, 14) * unit
    bone = draw_shaft(chance, site, radius, -chance.uniform(60, 150) * unit, chance.uniform(60, 150) * unit)
    centre = beside(site, 0, chance.uniform(-10, 10) * unit, chance.uniform(-0.08, 0.08))
    limb = around(centre, chance.uniform(42, 80) * unit, chance.uniform(60, 110))
    return [bone], [limb], chance.uniform(0.85, 1.1)


def forearm(chance: Chance, site: Site, unit: float) -> Anatomy:
    """Return two slender shafts side by side."""
    radius = chance.uniform(7, 9.5) * unit
    apart = chance.either_sign(24, 34) * unit
    host = draw_shaft(chance, site, radius, -chance.uniform(60, 120) * unit, chance.uniform(60, 120) * unit)
    other = beside(site, chance.uniform(-15, 15) * unit, apart, chance.uniform(-0.1, 0.1))
    length = chance.uniform(65, 120) * unit
    companion = draw_shaft(chance, other, radius * chance.uniform(0.8, 1.2), -length, length)
    limb = around(beside(site, 0, apart / 2, 0), chance.uniform(38, 50) * unit, chance.uniform(45, 75))
    return [host, companion], [limb], chance.uniform(0.9, 1.1)


def lower_leg(chance: Chance, site: Site, unit: float) -> Anatomy:
    """Return a stout and a thin shaft; either may be the host."""
    radii = [chance.uniform(10.5, 13.5) * unit, chance.uniform(5, 6.5) * unit]
    if chance.happens(0.4):
        radii.reverse()
    apart = chance.either_sign(27, 36) * unit
    host = draw_shaft(chance, site, radii[0], -chance.uniform(65, 140) * unit, chance.uniform(65, 140) * unit)
    other = beside(site, chance.uniform(-10, 10) * unit, apart, chance.uniform(-0.06, 0.06))
    length = chance.uniform(70, 140) * unit
    companion = draw_shaft(chance, other, radii[1], -length, length)
    limb = around(beside(site, 0, apart / 2, 0), chance.uniform(48, 70) * unit, chance.uniform(75, 115))
    return [host, companion], [limb], chance.uniform(0.9, 1.1)


def fingers(chance: Chance, site: Site, unit: float) -> Anatomy:
    """Return three rows of phalanges, spread a little; the host lies in the middle row."""
    radius = chance.uniform(6.5, 8.5) * unit
    apart, fan = radius * chance.uniform(4.4, 5.2), chance.uniform(0.0, 0.16)
    bones: list[Bone] = []
    limbs: list[Limb] = []
    for row in (0, -1, 1):
        at = site if row == 0 else beside(site, chance.uniform(-14, 14) * unit, row * apart, row * fan)
        middle = draw_shaft(chance, at, radius, -chance.uniform(34, 44) * unit, chance.uniform(34, 44) * unit)
        flipped = replace(middle, angle=at.angle + math.pi, start=-middle.end, end=-middle.start, bend=Bend())
        gap = chance.uniform(1.5, 3) * unit
        last = next_bone(chance, middle, gap, chance.uniform(38, 50) * unit, radius * 0.8)
        first = next_bone(chance, flipped, gap, chance.uniform(70, 90) * unit, radius * 1.1)
        bones += [middle, last, first]
        half_width, depth_mm = radius * chance.uniform(1.9, 2.3), chance.uniform(14, 20)
        tip = around(Site(last.x, last.y, last.angle, Bend()), half_width, depth_mm, last.end)
        base = around(replace(at, angle=at.angle + math.pi), half_width, depth_mm)
        limbs += [tip, base]
    return bones, limbs, chance.uniform(0.65, 0.85)


def joint(chance: Chance, site: Site, unit: float) -> Anatomy:
    """Return a shaft near its end, the joint gap, and the bone beyond."""
    radius = chance.uniform(9, 12) * unit
    host = draw_shaft(chance, site, radius, -150 * unit, chance.uniform(42, 60) * unit)
    host = replace(host, flare=chance.uniform(0.6, 1.0))
    beyond = next_bone(chance, host, chance.uniform(2, 4) * unit, 180 * unit, radius * chance.uniform(0.8, 1.1))
    limb = around(
        beside(site, 0, chance.uniform(-6, 6) * unit, 0), chance.uniform(36, 60) * unit, chance.uniform(50, 100)
    )
    return [host, replace(beyond, flare=chance.uniform(0.6, 1.0))], [limb], chance.uniform(0.85, 1.05)


ANATOMIES: dict[str, Callable[[Chance, Site, float], Anatomy]] = {
    "upper_arm": upper_arm,
    "forearm": forearm,
    "lower_leg": lower_leg,
    "fingers": fingers,
    "joint": joint,
}
