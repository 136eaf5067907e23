"""Fingerprints that do not change when a radiograph is rotated or mirrored.

A view is read along rings around its centre. A rotation shifts every ring, a mirror reverses it: neither changes the
magnitudes of its Fourier transform along the angle (as in Fourier-Mellin matching, Reddy and Chatterji 1996). Discs of
several radii meet copies whose frame has grown or shrunk around the content; discs beside the centre meet crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.sparse import csr_matrix

from train.audit.copies.views import SIDE

# Discs that are read, as (radius, x, y of the centre) in units of the inscribed one.
CENTRED = ((1.0, 0.0, 0.0), (0.84, 0.0, 0.0), (0.707, 0.0, 0.0), (0.595, 0.0, 0.0), (0.5, 0.0, 0.0))
# Steps of 19 % answer; discs that ask lie between them as well, so that no ratio is missed by more than 5 %.
BETWEEN = ((0.917, 0.0, 0.0), (0.77, 0.0, 0.0))
# A light crop moves the centre by about as much, and takes a tenth of the radius.
_ASIDE, _DIAGONALLY = 0.06, 0.045
SHIFTED = (
    *((0.9, x * _ASIDE, y * _ASIDE) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))),
    *((0.9, x * _DIAGONALLY, y * _DIAGONALLY) for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1))),
)
DISCS = CENTRED + BETWEEN + SHIFTED
RINGS = 16
ANGLES = 64  # samples along a ring
ORDERS = 20  # Fourier orders kept, for the angle between two views
_FINGERPRINT_ORDERS = 10  # higher ones do not survive a shifted centre
DIMENSIONS = RINGS * (_FINGERPRINT_ORDERS + 1)  # of a fingerprint
_INNER, _OUTER = 0.12, 0.97  # of the disc's radius: innermost and outermost ring
_RING_RADII = np.linspace(_INNER, _OUTER, RINGS).astype(np.float32)
_CONSTANT_WEIGHT = 0.7  # of order 0, which carries brightness


@dataclass(frozen=True)
class Fingerprints:
    """Of n views."""

    vectors: NDArray[np.float32]  # (n, discs, dimensions), each of length 1: what the index searches
    spectra: NDArray[np.float16]  # (n, discs, RINGS, 2 * ORDERS): real and imaginary parts, for the angle between views


def fingerprint(normalised: NDArray[np.float32]) -> Fingerprints:
    """The fingerprints of float32 (n, SIDE, SIDE) views as `normalise_contrast` gives them."""
    flat = normalised.reshape(len(normalised), -1)
    vectors, spectra = [], []
    for disc in DISCS:
        rings = np.asarray((_sampler(*disc) @ flat.T).T).reshape(-1, RINGS, ANGLES)
        transform = fft.rfft(rings, axis=2).astype(np.complex64) * np.sqrt(_RING_RADII)[:, None]
        vectors.append(_unit_vectors(np.abs(transform[:, :, : _FINGERPRINT_ORDERS + 1])))
        # Half floats: a tenth of a percent changes no angle, and spectra are a quarter of what is stored of an image.
        spectra.append(np.ascontiguousarray(transform[:, :, 1 : ORDERS + 1]).view(np.float32).astype(np.float16))
    return Fingerprints(np.stack(vectors, 1), np.stack(spectra, 1))


def _unit_vectors(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (n, dimensions): the square root keeps a few strong orders from drowning the others."""
    magnitudes[:, :, 0] *= _CONSTANT_WEIGHT
    vectors = np.sqrt(magnitudes).reshape(len(magnitudes), -1)
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)


@cache
def _sampler(radius: float, shift_x: float, shift_y: float) -> csr_matrix:
    """Bilinear sampling of a flat view along the rings of one disc, (RINGS * ANGLES, SIDE * SIDE)."""
    angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
    radii = (_RING_RADII * radius * SIDE / 2)[:, None]
    centre_x, centre_y = (SIDE - 1 + shift_x * SIDE) / 2, (SIDE - 1 + shift_y * SIDE) / 2
    y, x = centre_y + radii * np.sin(angles), centre_x + radii * np.cos(angles)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    down, right = y - top, x - left
    corners = [
        (top, left, (1 - down) * (1 - right)),
        (top, left + 1, (1 - down) * right),
        (top + 1, left, down * (1 - right)),
        (top + 1, left + 1, down * right),
    ]
    columns = np.concatenate(
        [(np.clip(r, 0, SIDE - 1) * SIDE + np.clip(c, 0, SIDE - 1)).ravel() for r, c, _ in corners]
    )
    weights = np.concatenate([weight.ravel() for _, _, weight in corners]).astype(np.float32)
    rows = np.tile(np.arange(RINGS * ANGLES), len(corners))
    return csr_matrix((weights, (rows, columns)), shape=(RINGS * ANGLES, SIDE * SIDE))


@dataclass(frozen=True)
class Turns:
    """How the second view of each of n pairs is turned against the first, most likely first."""

    angles: NDArray[np.float64]  # (n, top) radians: a point at direction d in the first stands at angle + d, or ...
    mirrored: NDArray[np.bool_]  # (n, top) ... where mirrored, at angle - d


_FINE_ANGLES = 128


def find_turns(first: NDArray[np.float16], second: NDArray[np.float16], top: int = 2) -> Turns:
    """The likeliest turns of n pairs of spectra (n, RINGS, 2 * ORDERS), by correlation along the angle."""
    one, other = (np.ascontiguousarray(spectra, np.float32).view(np.complex64) for spectra in (first, second))
    turned = _correlate((one.conj() * other).sum(1))
    mirrored = _correlate((one * other).sum(1))
    both = np.stack([turned, mirrored], 1)
    peaks = (both >= np.roll(both, 1, 2)) & (both > np.roll(both, -1, 2))
    order = np.argsort(-np.where(peaks, both, -np.inf).reshape(len(both), -1), axis=1)[:, :top]
    return Turns((order % _FINE_ANGLES) * 2 * np.pi / _FINE_ANGLES, order >= _FINE_ANGLES)


def _correlate(products: NDArray[np.complex64]) -> NDArray[np.float64]:
    padded = np.zeros((len(products), _FINE_ANGLES), np.complex64)
    padded[:, 1 : ORDERS + 1] = products
    return fft.ifft(padded, axis=1).real
