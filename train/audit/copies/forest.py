"""Groups that grow by links, such that one false link cannot chain two large groups into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WITNESSES = 2  # best-linked members of each group that are asked whether the groups belong together


class Forest:
    """Union of images by links.

    An image alone joins a group by one link. Two groups join only where a second, independent link exists, or where
    their best-linked members turn out to be copies of one another as well.
    """

    def __init__(self, count: int, are_copies: Callable[[int, int], bool]) -> None:
        """Starts with count images alone; are_copies compares any two of them."""
        self._root = list(range(count))
        self._members = [[image] for image in range(count)]
        self._degree = [0] * count
        self._refused: list[tuple[int, int]] = []
        self._are_copies = are_copies

    def find(self, image: int) -> int:
        """The group's number of an image; numbers change as groups join."""
        while self._root[image] != image:
            self._root[image] = self._root[self._root[image]]
            image = self._root[image]
        return image

    def joined(self, first: NDArray[np.integer[Any]], second: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Whether each two images are in one group already, bool (n,)."""
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        return np.array([self.find(a) == self.find(b) for a, b in pairs], bool)

    def offer(self, first: int, second: int) -> bool:
        """Joins the groups of two linked images if that is safe, and returns whether they are in one group now."""
        a, b = self.find(first), self.find(second)
        self._degree[first] += 1
        self._degree[second] += 1
        if a == b:
            return True
        alone = min(len(self._members[a]), len(self._members[b])) == 1
        if not alone and not self._is_supported(first, second) and not self._witnesses_agree(a, b):
            self._refused.append((first, second))
            return False
        self._join(a, b)
        return True

    def _is_supported(self, first: int, second: int) -> bool:
        """Whether an earlier link between the same groups stands on other images at both ends."""
        ends = {self.find(first): first, self.find(second): second}
        for pair in self._refused:
            roots = {self.find(image): image for image in pair}
            if roots.keys() == ends.keys() and all(roots[root] != ends[root] for root in roots):
                return True
        return False

    def _witnesses_agree(self, a: int, b: int) -> bool:
        of_a, of_b = (sorted(self._members[g], key=lambda i: (-self._degree[i], i))[:_WITNESSES] for g in (a, b))
        return any(self._are_copies(one, other) for one in of_a for other in of_b)

    def _join(self, a: int, b: int) -> None:
        if len(self._members[a]) < len(self._members[b]):
            a, b = b, a
        self._root[b] = a
        self._members[a] += self._members[b]
        self._members[b] = []
