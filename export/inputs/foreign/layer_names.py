"""Names for the layers of a network that is built from another."""

from __future__ import annotations


class LayerNames:
    """Gives each name once.

    Args:
        taken: names that are given already.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def free(self, wanted: str) -> str:
        """The wanted name, or the first of `wanted_2`, `wanted_3` and so on that no layer has."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name
