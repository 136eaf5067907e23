"""A tenth of the strikes of `make soak`, and that the harness sees what it is there to see."""

from __future__ import annotations

import pytest

from tests.faults.injection import FAULTS, FULL, KILL
from tests.faults.installer import Installation
from tests.faults.strikes import Point, all_points, strike
from tests.faults.writers import NEW, OLD, Writer, all_writers

EVERY = 10


class Careless(Writer):
    """Writes in place, as none of ours does."""

    def prepare(self, folder):
        (folder / "target").write_bytes(b"o" * 50_000)

    def act(self, folder):
        with (folder / "target").open("wb", buffering=0) as stream:
            for _ in range(5):
                stream.write(b"n" * 10_000)

    def state(self, folder):
        return {b"o" * 50_000: OLD, b"n" * 50_000: NEW}[(folder / "target").read_bytes()]


class Littering(Careless):
    """Leaves its draft where it was killed, and takes another name the next time."""

    def act(self, folder):
        draft = folder / f"draft-{len(list(folder.iterdir()))}"
        draft.write_bytes(b"n" * 50_000)
        draft.rename(folder / "target")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)  # the packager's writer sets its own
    return tmp_path


def test_every_tenth_strike_leaves_the_earlier_artefact_or_the_new_one(work):
    points = list(all_points(all_writers(work), work))[::EVERY]
    assert len(points) >= 50
    assert {point.kind for point in points} == set(FAULTS)
    assert not [f"{point}: {fault}" for point in points for fault in strike(point, work)]


def test_every_tenth_strike_at_the_installer_leaves_a_version_that_answers(work):
    installation = Installation(work)
    strikes = list(installation.strikes())[::EVERY]
    assert len(strikes) >= 3
    assert not [(number, kind, fault) for number, kind in strikes for fault in installation.faults(number, kind)]


@pytest.mark.parametrize("kind", FAULTS)
def test_the_harness_sees_a_writer_that_writes_in_place(work, kind):
    assert any("nothing whole is left" in fault for fault in strike(Point(Careless(), 3, kind), work))


def test_the_harness_sees_litter(work):
    points = list(all_points([Littering()], work))
    assert any("litter" in fault for point in points if point.kind == KILL for fault in strike(point, work))
    assert FULL in {point.kind for point in points}
