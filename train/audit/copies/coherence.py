"""Whether two textures agree at every spatial frequency, or only along a few strong edges that many radiographs have.

A long straight edge fills one direction of the spectrum, a plain correlation weighs it by its strength: two different
bones in one pose can agree that way. The phase of the cross-spectrum gives each frequency one vote (Kuglin and Hines
1975, phase correlation; here at the registration already found), and only what shares trabeculae and noise wins it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_LOWEST, _HIGHEST = 0.06, 0.15  # cycles per pixel; below is shape, above is noise of smooth images, interpolation, JPEG
_WINDOW_SIGMA = 0.31  # of the side; the corners outside the inscribed disc weigh nothing


def phase_coherence(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean cosine (n,) of the phase differences of texture pairs (n, side, side), registered: 1 equal, 0 by chance."""
    window, band = _window_and_band(first.shape[1])
    # scipy's transform works on several images at once: seven times as fast as numpy's.
    cross = fft.rfft2(first * window) * fft.rfft2(second * window).conj()
    votes = cross.real / (np.abs(cross) + 1e-9)
    return votes[:, band].mean(1)


@cache
def _window_and_band(side: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Gaussian window (side, side), and which frequencies of its real transform vote."""
    offsets = (np.arange(side) - (side - 1) / 2) / (_WINDOW_SIGMA * side)
    profile = np.exp(-(offsets**2))
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    return np.outer(profile, profile).astype(np.float32), (frequencies > _LOWEST) & (frequencies < _HIGHEST)
