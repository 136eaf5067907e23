"""One phantom from a seed and an index: the scene first, then, perhaps, the break.

Two streams of chance keep the label out of everything else. The scene stream draws anatomy, pose,
size, exposure, noise, markers and borders without knowing the label; the break stream draws how the
host would break. Drawn whole or broken, a scene is the same to the last bit outside the host's site.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.phantom.anatomy import NOMINAL_SIDE, Arrangement, arrange
from train.phantom.bone import (
    Array,
    Bone,
    Window,
    canal_presence,
    frame,
    path_length,
    tables,
    whole_axis,
    window,
)
from train.phantom.chance import Chance
from train.phantom.detector import Exposure, blurred, detect, draw_exposure, show
from train.phantom.fracture import Fracture, broken_path_length, draw_fracture
from train.phantom.surround import (
    Collimation,
    Fold,
    Marker,
    add_marker,
    draw_collimation,
    draw_fold,
    draw_marker,
    lit_field,
    soft_tissue,
)

SCENE_STREAM, BREAK_STREAM = 0, 1
SHORTEST_SIDE, LONGEST_SIDE = 168, 216
# Every break lies inside this share of the image (left, top, right, bottom); the surround never does.
SITE_RECTANGLE = (0.17, 0.17, 0.83, 0.83)
BOX_MM = 1.0  # the fracture box holds every ray whose way through bone a break changes by more; for a thin break half


@dataclass(frozen=True)
class Phantom:
    """One synthetic radiograph and what is known of it."""

    image_u8: NDArray[np.uint8]  # (H, W), bone light
    label: int  # 1 fractured, 0 not fractured
    fracture: str | None  # displaced, angulated or hairline; None if not fractured
    anatomy: str  # name of the arrangement
    box: tuple[int, int, int, int] | None  # left, top, right, bottom of the fracture, pixels
    mask: NDArray[np.bool_] | None  # (H, W), every ray that the break changes


@dataclass(frozen=True)
class Scene:
    """All of a phantom but its break."""

    height: int  # pixels
    width: int  # pixels
    arrangement: Arrangement
    folds: tuple[Fold, ...]
    lumps: Array  # unevenness of soft tissue on a coarse grid
    texture: Array  # unevenness of spongy bone, (height, width)
    marker: Marker | None
    collimation: Collimation
    exposure: Exposure
    noise: Array  # (height, width), standard deviation 1


def draw(seed: int, index: int, label: int | None = None) -> Phantom:
    """Return the phantom with this number, the same to the bit on every call.

    Args:
        seed: Names the data set, >= 0.
        index: Names the scene within the data set, >= 0.
        label: 1 to break the host bone, 0 to leave it whole; by default odd indices are broken.

    Returns:
        A phantom of 168 to 216 pixels a side. The scene does not depend on the label.
    """
    label = index % 2 if label is None else label
    scene = draw_scene(Chance(seed, index, SCENE_STREAM))
    host, kind = scene.arrangement.bones[0], scene.arrangement.fracture_kind
    unit = min(scene.height, scene.width) / NOMINAL_SIDE
    fracture = draw_fracture(Chance(seed, index, BREAK_STREAM), kind, host, unit) if label else None
    whole_mm = bones_mm(scene, None)
    bone_mm = bones_mm(scene, fracture) if fracture else whole_mm
    change_mm = np.abs(bone_mm - whole_mm)
    return Phantom(
        image_u8=picture(scene, bone_mm),
        label=label,
        fracture=kind if fracture else None,
        anatomy=scene.arrangement.anatomy,
        box=bounding_box(change_mm > min(BOX_MM, 0.5 * change_mm.max())) if fracture else None,
        mask=change_mm > 0 if fracture else None,
    )


def draw_scene(chance: Chance) -> Scene:
    """Return a scene; nothing here knows the label."""
    height, width = chance.whole(SHORTEST_SIDE, LONGEST_SIDE), chance.whole(SHORTEST_SIDE, LONGEST_SIDE)
    arrangement = arrange(chance, height, width)
    host = arrangement.bones[0]
    bone_mm = 1.3 * host.radius * arrangement.mm_per_pixel
    return Scene(
        height=height,
        width=width,
        arrangement=arrangement,
        folds=tuple(draw_fold(chance, height, width) for _ in range(chance.whole(0, 3))),
        lumps=0.05 * chance.noise(8, 8),
        texture=spongy_texture(chance, height, width),
        marker=draw_marker(chance, height, width) if chance.happens(0.7) else None,
        collimation=draw_collimation(chance, height, width),
        exposure=draw_exposure(chance, arrangement.limbs[0].depth_mm, bone_mm),
        noise=chance.noise(height, width),
    )


def spongy_texture(chance: Chance, height: int, width: int) -> Array:
    """Return the unevenness of spongy bone, (height, width), mean 0: grains of two to three pixels."""
    strength = chance.uniform(0.6, 1.6)
    return strength * blurred(blurred(chance.noise(height, width), 0.25), 0.25)


def bones_mm(scene: Scene, fracture: Fracture | None) -> Array:
    """Return cortical bone on each ray, millimetres, (H, W); the host is broken if a fracture is given."""
    total = np.zeros((scene.height, scene.width))
    for position, bone in enumerate(scene.arrangement.bones):
        place = window(bone, scene.height, scene.width)
        texture = scene.texture[place.rows, place.columns]
        total[place.rows, place.columns] += bone_path(bone, fracture if position == 0 else None, place, texture)
    return total * scene.arrangement.mm_per_pixel


def bone_path(bone: Bone, fracture: Fracture | None, place: Window, texture: Array) -> Array:
    """Return one bone's part of each ray in a window, pixels of cortical bone, (rows, columns)."""
    coordinates, table = frame(bone, place), tables(bone)
    if fracture is None:
        path = path_length(table, coordinates, whole_axis(bone.bend), texture)
    else:
        path = broken_path_length(bone, fracture, table, coordinates, texture)
    return path if bone.canal is None else path * canal_presence(bone.canal, coordinates)


def picture(scene: Scene, bone_mm: Array) -> NDArray[np.uint8]:
    """Return the radiograph of a scene with these bones, uint8 (H, W)."""
    shadow_mm = bone_mm.copy()
    if scene.marker:
        add_marker(shadow_mm, scene.marker)
    soft_mm = soft_tissue(scene.arrangement.limbs, scene.folds, scene.lumps, scene.height, scene.width)
    lit = lit_field(scene.collimation, scene.height, scene.width)
    signal = detect(shadow_mm, soft_mm, 0.01 + 0.99 * lit, scene.noise, scene.exposure)
    image_u8 = show(signal, scene.exposure)
    return np.where(lit == 1, image_u8, np.uint8(0)) if scene.collimation.shutter else image_u8


def bounding_box(area: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom (exclusive) of the True pixels of a (H, W) area."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
