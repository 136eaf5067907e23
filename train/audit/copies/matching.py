"""Which candidate pairs are copies: each pair is laid over itself and looked at closer and closer, until it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.audit.copies.closer_look import CloserLook
from train.audit.copies.coherence import phase_coherence
from train.audit.copies.fingerprint import CENTRED, DISCS, find_turns
from train.audit.copies.neighbours import Ints
from train.audit.copies.registration import Maps, correlate, refine, turn_maps, warp
from train.audit.copies.view_files import ViewFiles
from train.audit.copies.views import SIDE, disc, view_half_sides
from train.audit.workers import THREADS, Workers

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
_CHUNK = 96  # pairs worked on at a time
_RADII = np.array([radius for radius, _, _ in DISCS])
_CENTRES = np.array([centre for _, *centre in DISCS])


@dataclass(frozen=True)
class Pairs:
    """n pairs of views with a guess of the discs that show the same."""

    first: Ints  # (n,) view
    first_disc: Ints  # (n,) its disc, index into DISCS
    second: Ints  # (n,) view
    second_disc: Ints  # (n,) its disc

    def take(self, chosen: Ints | slice) -> Pairs:
        """The chosen pairs."""
        return Pairs(self.first[chosen], self.first_disc[chosen], self.second[chosen], self.second_disc[chosen])

    @property
    def ends(self) -> tuple[tuple[Ints, Ints], ...]:
        """(views, discs) of the first and of the second of each pair."""
        return (self.first, self.first_disc), (self.second, self.second_disc)

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

    first: Ints  # (n,) view
    second: Ints  # (n,) view
    maps: Maps  # (n, 2, 3) from the first to the second
    agreement: NDArray[np.float64]  # (n,) -1 to 1; -1 a pair that failed early

    @property
    def are_copies(self) -> NDArray[np.bool_]:
        """Whether each pair shows one radiograph, bool (n,)."""
        mirrored = np.linalg.det(self.maps[:, :, :2]) < 0
        return self.agreement >= np.where(mirrored, MIRRORED_LEAST, AGREEMENT_LEAST)


class Matcher:
    """The comparison of any two views of a data set."""

    def __init__(self, views: ViewFiles, workers: Workers = THREADS) -> None:
        """Compares these views, with the help of these workers."""
        self.views, self._workers = views, workers
        self._closer_look = CloserLook(views)

    def __reduce__(self) -> tuple[Any, ...]:
        return Matcher, (self.views,)  # what another process is given compares, and hands nothing on

    def match(self, pairs: Pairs) -> Matches:
        """Compares pairs of views, on all workers; the order stays."""
        chunks = [pairs.take(slice(start, start + _CHUNK)) for start in range(0, len(pairs.first), _CHUNK)]
        results = list(self._workers.map(self._match_chunk, chunks))
        if not results:
            return Matches(pairs.first, pairs.second, np.zeros((0, 2, 3)), np.zeros(0))
        return Matches(*(np.concatenate([getattr(r, name) for r in results]) for name in Matches.__dataclass_fields__))

    def are_copies(self, first: int, second: int) -> bool:
        """Whether two images show one radiograph, by their likeliest views and discs."""
        of_first, of_second = (self._views_of(image) for image in (first, second))
        discs = np.arange(len(CENTRED))
        grid = np.array(np.meshgrid(of_first, discs, of_second, discs, indexing="ij")).reshape(4, -1)
        pairs = Pairs(*grid)
        of_first, of_second = (self._discs("vectors", *ends) for ends in pairs.ends)
        likeness = (of_first * of_second).sum(1)
        best = np.argsort(-likeness, kind="stable")[:_GUESSES]
        # The likeliest alone first: for copies it nearly always suffices, at a sixth of the cost.
        return any(self._match_chunk(pairs.take(some)).are_copies.any() for some in (best[:1], best[1:]))

    def _views_of(self, image: int) -> Ints:
        return np.arange(*np.searchsorted(self.views.owners, [image, image + 1]))

    def _discs(self, name: str, views: Ints, discs: Ints) -> NDArray[Any]:
        """The rows of a field that belong to discs of views."""
        return self.views.take(name, views.astype(np.int64) * len(DISCS) + discs)

    def _match_chunk(self, pairs: Pairs) -> Matches:
        pairs = pairs.widening()
        maps, coarse = self._lay_over(pairs)
        agreement = np.full(len(pairs.first), -1.0)
        left = np.flatnonzero(coarse >= COARSE_LEAST)
        maps[left], middle = self._refine("middle", pairs.take(left), maps[left], _MIDDLE_STEPS)
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
        of_first, of_second = (self._discs("spectra", *ends) for ends in pairs.ends)
        turns = find_turns(of_first, of_second, top=_TURNS)
        ratios = _RADII[pairs.second_disc] / _RADII[pairs.first_disc]
        from_centre, to_centre = _CENTRES[pairs.first_disc], _CENTRES[pairs.second_disc]
        maps, best = np.zeros((len(ratios), 2, 3)), np.full(len(ratios), -1.0)
        for guess in range(_TURNS):
            todo = np.flatnonzero(best < _SETTLED)
            start = turn_maps(turns.angles[todo, guess], turns.mirrored[todo, guess], ratios[todo])
            start[:, :, 2] = to_centre[todo] - (start[:, :, :2] @ from_centre[todo][:, :, None])[:, :, 0]
            found, correlation = self._refine("coarse", pairs.take(todo), start, _COARSE_STEPS)
            better = correlation > best[todo]
            maps[todo[better]], best[todo[better]] = found[better], correlation[better]
        return maps, best

    def _refine(self, name: str, pairs: Pairs, maps: Maps, steps: int) -> tuple[Maps, NDArray[np.float64]]:
        """As `registration.refine`, on the images of one field."""
        views, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
        first, second = np.split(places, 2)
        return refine(self.views.take(name, views), first, second, maps, steps)

    def _compare_texture(self, pairs: Pairs, maps: Maps) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Correlation and phase coherence of the fine structure in the views."""
        fixed = self.views.take("texture", pairs.first).astype(np.float32)
        moved, inside = warp(self.views.take("texture", pairs.second), np.arange(len(maps)), maps)
        mask = (inside & disc(SIDE)).astype(np.float32)
        return correlate(fixed, moved, mask), phase_coherence(fixed * mask, moved * mask)


_TURNS = 2  # of the angle, tried a pair
_GUESSES = 6  # of views and discs, tried where two images are compared without a hint


def frame_half_sides(width: int, height: int, kind: int) -> NDArray[np.float64]:
    """float64 (2,): half width and half height in pixels of one view's frame."""
    return np.array(view_half_sides(width, height)[kind])
