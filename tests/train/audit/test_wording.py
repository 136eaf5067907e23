"""Numbers in sentences."""

import pytest

from train.audit.wording import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_thing_is_told_in_the_singular(count, text):
    assert counted(count, "image") == text


def test_words_that_change_otherwise_are_given_whole():
    assert [counted(count, "image has", "images have") for count in (1, 2)] == ["1 image has", "2 images have"]
