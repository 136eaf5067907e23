"""What was worked out before is found again as long as everything that made it is the same."""

import pytest

from train.audit import cache


def test_what_was_stored_is_found_under_its_kind_and_key():
    cache.store("contents", "a", {"rows": [1, 2]})
    assert cache.load("contents", "a") == {"rows": [1, 2]}
    assert cache.load("contents", "b") is None and cache.load("links", "a") is None


@pytest.mark.parametrize("part", ["ALGORITHM_VERSION", "DECODING"])
def test_another_version_of_what_made_it_finds_nothing(part, monkeypatch):
    cache.store("contents", "a", 1)
    monkeypatch.setattr(cache, part, "another")
    assert cache.load("contents", "a") is None


def test_a_damaged_entry_is_as_good_as_none():
    cache.store("contents", "a", 1)
    (entry,) = cache.cache_folder().rglob("*.json")
    entry.write_text("{")
    assert cache.load("contents", "a") is None


def test_a_cache_that_cannot_be_written_is_no_error():
    (cache.cache_folder() / "audit").write_text("a file where the folder should be")
    cache.store("contents", "a", 1)
    assert cache.load("contents", "a") is None
