"""Which candidate pairs are copies: each pair is laid over itself and looked at closer and closer, until it fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from edge_runtime.images import read_grey
from train.audit.copies.closer_look import CloserLook
from train.audit.copies.coherence import phase_coherence
from train.audit.copies.fingerprint import CENTRED, DISCS, Fingerprints, find_turns, fingerprint
from train.audit.copies.registration import Maps, correlate, refine, turn_maps, warp
from train.audit.copies.smoothing import pool
from train.audit.copies.views import SIDE, disc, make_views, normalise_contrast, remove_white_corners, view_half_sides

# Thresholds were chosen on copies planted in one half of FracAtlas and judged on the other: docs/audit.md.
COARSE_LEAST, MIDDLE_LEAST = 0.62, 0.68  # correlation at a quarter and at half of the view's size
TEXTURE_LEAST = 0.28  # correlation of fine structure in the view; below, no closer look is worth its time
TEXTURE_SURE = 0.85  # above, none is needed
COHERENT_LEAST = 0.25  # phase coherence of the closer look; below, only a few strong edges agree
COHERENT_SURE = 0.5  # of the view: without it the closer look decides
AGREEMENT_LEAST = 0.79  # of the closer look: a copy
MIRRORED_LEAST = 0.82  # of a mirrored one: left and right limbs of one patient are nearly mirror images
_SETTLED = 0.85  # a first guess this good makes the second one needless
_COARSE_STEPS, _MIDDLE_STEPS = 6, 3
_CHUNK = 96  # pairs or views worked on at a time
_WORKERS = 2
_DECODE_SIDE = 256  # pixels; views need no more
_RADII = np.array([radius for radius, _, _ in DISCS])
_CENTRES = np.array([centre for _, *centre in DISCS])


@dataclass(frozen=True)
class Pairs:
    """n pairs of views with a guess of the discs that show the same."""

    first: NDArray[np.int64]  # (n,) view
    first_disc: NDArray[np.int64]  # (n,) its disc, index into DISCS
    second: NDArray[np.int64]  # (n,) view
    second_disc: NDArray[np.int64]  # (n,) its disc

    def take(self, chosen: NDArray[np.int64] | slice) -> Pairs:
        """The chosen pairs."""
        return Pairs(self.first[chosen], self.first_disc[chosen], self.second[chosen], self.second_disc[chosen])

    def widening(self) -> Pairs:
        """The pairs turned so that the second disc is at least as wide: the first view is then the coarser one."""
        swap = _RADII[self.second_disc] < _RADII[self.first_disc]
        return Pairs(
            np.where(swap, self.second, self.first),
            np.where(swap, self.second_disc, self.first_disc),
            np.where(swap, self.first, self.second),
            np.where(swap, self.first_disc, self.second_disc),
        )


@dataclass(frozen=True)
class Matches:
    """What became of n pairs of views."""

    first: NDArray[np.int64]  # (n,) view
    second: NDArray[np.int64]  # (n,) view
    maps: Maps  # (n, 2, 3) from the first to the second
    agreement: NDArray[np.float64]  # (n,) -1 to 1; -1 a pair that failed early

    @property
    def are_copies(self) -> NDArray[np.bool_]:
        """Whether each pair shows one radiograph, bool (n,)."""
        mirrored = np.linalg.det(self.maps[:, :, :2]) < 0
        return self.agreement >= np.where(mirrored, MIRRORED_LEAST, AGREEMENT_LEAST)


class Matcher:
    """The views of all images of a data set, and the comparison of any two."""

    def __init__(self, paths: list[Path], progress: Callable[[int, int], None] | None = None) -> None:
        """Reads all images; progress is called with (done, total)."""
        self.paths = paths
        views: list[NDArray[np.uint8]] = []
        owners: list[int] = []
        kinds: list[int] = []
        with ThreadPoolExecutor(_WORKERS) as workers:
            for image, seen in enumerate(workers.map(_read_views, paths)):
                views.extend(seen)
                owners.extend([image] * len(seen))
                kinds.extend(range(len(seen)))
                if progress is not None:
                    progress(image + 1, len(paths))
            self.view_images, self.view_kinds = np.array(owners, np.int64), np.array(kinds, np.int64)
            chunks = [np.stack(views[start : start + _CHUNK]) for start in range(0, len(views), _CHUNK)]
            self._prepare(list(workers.map(_prepare_chunk, chunks)))
        self._closer_look = CloserLook(paths, self.view_images, self.view_kinds)

    def _prepare(self, chunks: list[_Prepared]) -> None:
        self.fingerprints = Fingerprints(
            np.concatenate([chunk.fingerprints.vectors for chunk in chunks]),
            np.concatenate([chunk.fingerprints.spectra for chunk in chunks]),
        )
        self._coarse = np.concatenate([chunk.coarse for chunk in chunks])
        self._middle = np.concatenate([chunk.middle for chunk in chunks])
        self._texture = np.concatenate([chunk.texture for chunk in chunks])

    def match(self, pairs: Pairs) -> Matches:
        """Compares pairs of views, on all workers; the order stays."""
        chunks = [pairs.take(slice(start, start + _CHUNK)) for start in range(0, len(pairs.first), _CHUNK)]
        with ThreadPoolExecutor(_WORKERS) as workers:
            results = list(workers.map(self._match_chunk, chunks))
        if not results:
            return Matches(pairs.first, pairs.second, np.zeros((0, 2, 3)), np.zeros(0))
        return Matches(*(np.concatenate([getattr(r, name) for r in results]) for name in Matches.__dataclass_fields__))

    def are_copies(self, first: int, second: int) -> bool:
        """Whether two images show one radiograph, by their likeliest views and discs."""
        of_first, of_second = (np.flatnonzero(self.view_images == image) for image in (first, second))
        discs = np.arange(len(CENTRED))
        grid = np.array(np.meshgrid(of_first, discs, of_second, discs, indexing="ij")).reshape(4, -1)
        pairs = Pairs(*grid)
        ring = self.fingerprints.vectors
        likeness = (ring[pairs.first, pairs.first_disc] * ring[pairs.second, pairs.second_disc]).sum(1)
        best = np.argsort(-likeness, kind="stable")[:_GUESSES]
        # The likeliest alone first: for copies it nearly always suffices, at a sixth of the cost.
        return any(self._match_chunk(pairs.take(some)).are_copies.any() for some in (best[:1], best[1:]))

    def _match_chunk(self, pairs: Pairs) -> Matches:
        pairs = pairs.widening()
        maps, coarse = self._lay_over(pairs)
        agreement = np.full(len(pairs.first), -1.0)
        left = np.flatnonzero(coarse >= COARSE_LEAST)
        maps[left], middle = refine(self._middle, pairs.first[left], pairs.second[left], maps[left], _MIDDLE_STEPS)
        left = left[middle >= MIDDLE_LEAST]
        texture, coherence = self._compare_texture(pairs.take(left), maps[left])
        sure = (texture >= TEXTURE_SURE) & (coherence >= COHERENT_SURE)
        agreement[left[sure]] = texture[sure]
        left = left[(texture >= TEXTURE_LEAST) & ~sure]
        if len(left):
            maps[left], seen, coherence = self._closer_look.compare(pairs.first[left], pairs.second[left], maps[left])
            agreement[left] = np.where(coherence >= COHERENT_LEAST, seen, -1.0)
        return Matches(pairs.first, pairs.second, maps, agreement)

    def _lay_over(self, pairs: Pairs) -> tuple[Maps, NDArray[np.float64]]:
        """The better of the two likeliest turns of each pair, registered coarsely, and its correlation."""
        spectra = self.fingerprints.spectra
        turns = find_turns(spectra[pairs.first, pairs.first_disc], spectra[pairs.second, pairs.second_disc], top=_TURNS)
        ratios = _RADII[pairs.second_disc] / _RADII[pairs.first_disc]
        from_centre, to_centre = _CENTRES[pairs.first_disc], _CENTRES[pairs.second_disc]
        maps, best = np.zeros((len(ratios), 2, 3)), np.full(len(ratios), -1.0)
        for guess in range(_TURNS):
            todo = np.flatnonzero(best < _SETTLED)
            start = turn_maps(turns.angles[todo, guess], turns.mirrored[todo, guess], ratios[todo])
            start[:, :, 2] = to_centre[todo] - (start[:, :, :2] @ from_centre[todo][:, :, None])[:, :, 0]
            found, correlation = refine(self._coarse, pairs.first[todo], pairs.second[todo], start, _COARSE_STEPS)
            better = correlation > best[todo]
            maps[todo[better]], best[todo[better]] = found[better], correlation[better]
        return maps, best

    def _compare_texture(self, pairs: Pairs, maps: Maps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Correlation and phase coherence of the fine structure in the views."""
        fixed = self._texture[pairs.first].astype(np.float32)
        moved, inside = warp(self._texture, pairs.second, maps)
        mask = (inside & disc(SIDE)).astype(np.float32)
        return correlate(fixed, moved, mask), phase_coherence(fixed * mask, moved * mask)


_TURNS = 2  # of the angle, tried a pair
_GUESSES = 6  # of views and discs, tried where two images are compared without a hint


@dataclass(frozen=True)
class _Prepared:
    """Of a chunk of views, everything that comparing them needs."""

    fingerprints: Fingerprints
    coarse: NDArray[np.float32]  # a quarter of the size
    middle: NDArray[np.float32]  # half of the size
    texture: NDArray[np.float16]  # whole size


def _read_views(path: Path) -> list[NDArray[np.uint8]]:
    return make_views(remove_white_corners(read_grey(path, least_side=_DECODE_SIDE)))


def _prepare_chunk(views_u8: NDArray[np.uint8]) -> _Prepared:
    normalised = normalise_contrast(views_u8)
    return _Prepared(fingerprint(normalised), pool(normalised, 4), pool(normalised, 2), _texture(views_u8))


def _texture(views_u8: NDArray[np.uint8]) -> NDArray[np.float16]:
    """float16, the finest structure of views at even local contrast; half floats halve what 10,000 images take."""
    images = views_u8.astype(np.float32)
    band = images - uniform_filter(images, 5, axes=(1, 2))
    return (band / np.sqrt(uniform_filter(band * band, 15, axes=(1, 2)).clip(0) + 2)).astype(np.float16)


def frame_half_sides(width: int, height: int, kind: int) -> NDArray[np.float64]:
    """float64 (2,): half width and half height in pixels of one view's frame."""
    return np.array(view_half_sides(width, height)[kind])
