"""One false link does not chain two groups together."""

from __future__ import annotations

import numpy as np

from train.audit.copies.forest import Forest


def two_groups(are_copies: bool) -> Forest:
    forest = Forest(6, lambda a, b: are_copies)
    for a, b in ((0, 1), (1, 2), (3, 4), (4, 5)):
        assert forest.offer(a, b)
    return forest


def test_images_alone_join_by_one_link() -> None:
    forest = Forest(2, lambda a, b: False)
    assert forest.offer(0, 1)
    assert forest.find(0) == forest.find(1)


def test_a_single_link_between_two_groups_is_refused() -> None:
    forest = two_groups(are_copies=False)
    assert not forest.offer(2, 3)
    assert forest.find(0) != forest.find(5)


def test_a_second_link_on_the_same_image_is_no_support() -> None:
    forest = two_groups(are_copies=False)
    assert not forest.offer(2, 3)
    assert not forest.offer(2, 4)


def test_a_second_independent_link_joins() -> None:
    forest = two_groups(are_copies=False)
    assert not forest.offer(2, 3)
    assert forest.offer(1, 4)
    assert forest.joined(np.array([0, 2]), np.array([5, 3])).all()


def test_witnesses_join() -> None:
    assert two_groups(are_copies=True).offer(2, 3)
