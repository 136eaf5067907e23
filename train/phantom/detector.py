"""From thickness to grey: attenuation, scatter, blur, quantum noise and the reader's display curve.

A ray of energy E is weakened by exp(-(mu_soft * soft + mu_bone * bone)) (Beer-Lambert). Two energies
are enough for bone to lose contrast behind thick tissue as it does in a real beam.

No exponential and no logarithm touches a pixel, because their last bit differs between processors:
thickness and signal are rounded to whole steps and looked up in tables whose entries are themselves
rounded. A different last bit can therefore change a picture only if an entry lies within 1e-15 of a
rounding boundary: not impossible, but unlikely for ten thousand entries. On one x86-64 machine some
two hundred phantoms kept their SHA-256 with numpy's AVX2 and AVX-512 code switched off
(NPY_DISABLE_CPU_FEATURES); on ARM the golden hashes of the tests decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from train.phantom.bone import Array
from train.phantom.chance import Chance

# Linear attenuation per millimetre at 40 and 60 keV: soft tissue and cortical bone of ICRU-44
# (Hubbell and Seltzer, NISTIR 5632), and the beam's share of each energy.
SOFT_PER_MM = (0.0285, 0.0217)
BONE_PER_MM = (0.1278, 0.0604)
SHARES = (0.4, 0.6)

SOFT_STEPS_PER_MM, SOFT_LIMIT_MM = 16, 240
BONE_STEPS_PER_MM, BONE_LIMIT_MM = 64, 80
SIGNAL_STEPS = 8191
SIGNAL_LIMIT = 1.21  # relative to the open beam; scatter and noise exceed 1
TABLE_DECIMALS = 10
SCATTER_STRIDE = 16  # pixels between the samples from which scatter is built


@dataclass(frozen=True)
class Exposure:
    """How one picture is taken and shown."""

    photons: float  # quanta in a pixel of the open beam
    scatter: float  # scattered signal, as a share of the primary signal around
    blur: float  # weight of each neighbour in a 3-tap blur, 0 to 0.25
    black: float  # attenuation shown as black, natural logarithm
    white: float  # attenuation shown as white, natural logarithm
    bend: float  # S-shape of the display curve, 0 (straight) to 1
    darkest: float  # grey of black, 0 to 255
    brightest: float  # grey of white, 0 to 255


def draw_exposure(chance: Chance, depth_mm: float, bone_mm: float) -> Exposure:
    """Return an exposure for a limb this thick with a bone this thick, both in millimetres."""
    soft = depth_mm * SOFT_PER_MM[1]
    white = soft * chance.uniform(0.95, 1.1) + bone_mm * BONE_PER_MM[1] * chance.uniform(1.0, 1.5)
    return Exposure(
        photons=chance.uniform(900, 4000) * (1 + 2 * soft),
        scatter=chance.uniform(0.1, 0.5),
        blur=chance.uniform(0.06, 0.2),
        black=soft * chance.uniform(0.45, 0.85),
        white=white,
        bend=chance.uniform(0, 0.8),
        darkest=chance.uniform(2, 24),
        brightest=chance.uniform(225, 255),
    )


@cache
def transmission(steps_per_mm: int, limit_mm: int, per_mm: float) -> Array:
    """Return the share of rays that passes 0, 1, 2, ... steps of a material, float64."""
    thickness_mm = np.arange(limit_mm * steps_per_mm + 1) / steps_per_mm
    return np.round(np.exp(-per_mm * thickness_mm), TABLE_DECIMALS)


@cache
def attenuation() -> Array:
    """Return the natural logarithm of attenuation for each step of the signal's square root."""
    root = np.maximum(np.arange(SIGNAL_STEPS + 1), 1) / SIGNAL_STEPS
    return np.round(-np.log(root * root * SIGNAL_LIMIT), TABLE_DECIMALS)


def steps(thickness_mm: Array, steps_per_mm: int, limit_mm: int) -> NDArray[np.intp]:
    """Return thickness in millimetres as whole steps, clipped to the table."""
    return np.minimum(np.rint(thickness_mm * steps_per_mm), limit_mm * steps_per_mm).astype(np.intp)


def primary_signal(bone_mm: Array, soft_mm: Array) -> Array:
    """Return the unscattered signal, (H, W), relative to the open beam (Beer-Lambert)."""
    bone = steps(bone_mm, BONE_STEPS_PER_MM, BONE_LIMIT_MM)
    soft = steps(soft_mm, SOFT_STEPS_PER_MM, SOFT_LIMIT_MM)
    signal = np.zeros_like(bone_mm)
    for share, bone_per_mm, soft_per_mm in zip(SHARES, BONE_PER_MM, SOFT_PER_MM, strict=True):
        passed_bone = transmission(BONE_STEPS_PER_MM, BONE_LIMIT_MM, bone_per_mm)[bone]
        passed_soft = transmission(SOFT_STEPS_PER_MM, SOFT_LIMIT_MM, soft_per_mm)[soft]
        signal += share * passed_bone * passed_soft
    return signal


def scattered_signal(soft_mm: Array) -> Array:
    """Return the smooth signal that scatter adds for a scatter share of 1, (H, W).

    Built from soft tissue alone, so a break does not change the picture far away.
    """
    height, width = soft_mm.shape
    sparse = soft_mm[SCATTER_STRIDE // 2 :: SCATTER_STRIDE, SCATTER_STRIDE // 2 :: SCATTER_STRIDE]
    coarse = primary_signal(np.zeros_like(sparse), sparse)
    for _ in range(3):
        coarse = blurred(coarse, 0.25)
    return enlarged(np.minimum(coarse, 0.6), height, width)


def enlarged(coarse: Array, height: int, width: int) -> Array:
    """Return a coarse map brought to (height, width) by bilinear interpolation."""
    rows = np.arange(height) * ((coarse.shape[0] - 1) / height)
    columns = np.arange(width) * ((coarse.shape[1] - 1) / width)
    row, column = rows.astype(np.intp), columns.astype(np.intp)
    below, right = (rows - row)[:, None], columns - column
    tall = coarse[row] * (1 - below) + coarse[row + 1] * below
    return tall[:, column] * (1 - right) + tall[:, column + 1] * right


def blurred(image: Array, weight: float) -> Array:
    """Return the image after a separable 3-tap blur (weight, 1 - 2 * weight, weight); edges repeat."""
    padded = np.pad(image, 1, mode="edge")
    tall = padded[1:-1] * (1 - 2 * weight) + (padded[:-2] + padded[2:]) * weight
    return tall[:, 1:-1] * (1 - 2 * weight) + (tall[:, :-2] + tall[:, 2:]) * weight


def detect(bone_mm: Array, soft_mm: Array, beam: Array, noise: Array, exposure: Exposure) -> Array:
    """Return the detected signal relative to the open beam, float64 (H, W).

    Args:
        bone_mm: Cortical bone on each ray, millimetres, (H, W).
        soft_mm: Soft tissue on each ray, millimetres, (H, W).
        beam: Share of the beam that the collimator lets pass, (H, W).
        noise: Noise of standard deviation 1, (H, W).
        exposure: How the picture is taken.
    """
    signal = blurred(primary_signal(bone_mm, soft_mm) * beam, exposure.blur)
    signal += exposure.scatter * 0.5 * scattered_signal(soft_mm)
    # Quantum noise grows with the square root of the count (Poisson; many quanta, hence normal).
    signal += noise * np.sqrt(signal / exposure.photons)
    return blurred(np.maximum(signal, 0), exposure.blur / 2)


def show(signal: Array, exposure: Exposure) -> NDArray[np.uint8]:
    """Return the picture as a reader sees it, uint8 (H, W): bone light, air dark."""
    shade = np.clip((attenuation() - exposure.black) / (exposure.white - exposure.black), 0, 1)
    curve = shade * (1 - exposure.bend) + shade * shade * (3 - 2 * shade) * exposure.bend
    grey = np.rint(exposure.darkest + (exposure.brightest - exposure.darkest) * curve).astype(np.uint8)
    root = np.rint(np.sqrt(np.minimum(signal / SIGNAL_LIMIT, 1)) * SIGNAL_STEPS)
    return grey[root.astype(np.intp)]
