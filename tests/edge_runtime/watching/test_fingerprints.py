"""What the watcher remembers of a file."""

from __future__ import annotations

import random
import sys

from edge_runtime.watching.fingerprints import Fingerprints, fingerprint


def test_path_size_and_time_each_make_another_file():
    versions = [
        ("/a.png", 1, 2),
        ("/b.png", 1, 2),
        ("/a.png", 2, 2),
        ("/a.png", 1, 3),
        ("/a.png", 12, 2),
        ("/\udcff", 1, 2),
    ]
    assert len({fingerprint(*version) for version in versions}) == len(versions)
    assert fingerprint("/a.png", 1, 2) == fingerprint("/a.png", 1, 2) < 1 << 64


def test_it_answers_as_a_set_does():
    random_ = random.Random(5)
    members = [random_.choice([0, (1 << 64) - 1, random_.randrange(1 << 64)]) for _ in range(500)]
    known, expected = Fingerprints(members[:100]), set(members[:100])
    for member in members[100:]:
        assert (member in known) == (member in expected)
        known.add(member)
        expected.add(member)
        assert member in known and len(known) == len(expected)


def test_a_file_takes_little_more_than_eight_bytes():
    known = Fingerprints()
    for number in range(10_000):
        known.add(fingerprint(f"/inbox/{number}.png", number, number))
    assert len(known) == 10_000
    assert sys.getsizeof(known._sorted) < 100_000
