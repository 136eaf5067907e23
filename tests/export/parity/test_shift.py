"""Images that come otherwise, and how a file answers to them beside the network."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.embedded_spec import read_embedded_spec
from export.parity.engine_answers import ask
from export.parity.shift import BANDS, IMAGES, SHIFTS, ShiftedImages, measure_shifts, shifted


@pytest.fixture(scope="module")
def file(tiny_bundle):
    path = tiny_bundle / "model_int8.tflite"
    return path, read_embedded_spec(path).spec


def images_of(spec, count):
    y, x = np.mgrid[: spec.size, : spec.size]
    waves = 128 + 60 * np.sin(x[None] / np.arange(2, 2 + count)[:, None, None]) * np.cos(y[None] / 5)
    return np.rint(waves).astype(np.uint8)


def brightness(images_u8):
    return images_u8.mean(axis=(1, 2)) / 255.0


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_an_image_as_its_name_says_and_the_same_way_each_time(name):
    image_u8 = images_of(type("Side", (), {"size": 64}), 1)[0]
    once, again = (SHIFTS[name](image_u8, np.random.default_rng(3)) for _ in range(2))
    assert once.dtype == np.uint8 and once.shape == image_u8.shape and np.array_equal(once, again)
    moved = np.abs(once.astype(int) - image_u8).mean()
    assert 0.5 < moved < 60
    if name in ("brighter", "darker"):
        assert (once.mean() > image_u8.mean()) == (name == "brighter")


def test_each_image_is_shifted_alike_whichever_others_there_are(file):
    images_u8 = images_of(file[1], 6)
    many, one = (shifted(chosen, None, brightness) for chosen in (images_u8, images_u8[:1]))
    assert [made.shift for made in many] == list(SHIFTS)
    assert all(np.array_equal(a.images_u8[0], b.images_u8[0]) for a, b in zip(many, one, strict=True))
    assert len(shifted(np.repeat(images_u8, 40, axis=0), None, brightness)[0].images_u8) == IMAGES


def test_decisions_are_counted_by_radiograph_and_by_the_distance_from_the_threshold(file):
    path, spec = file
    images_u8 = images_of(spec, 5)
    own = ask(path, spec, images_u8).probabilities.astype(np.float64)
    # The reference stands on the other side for the first radiograph, close by, and for the last, which has two files.
    side = np.where(own >= spec.threshold, -1.0, 1.0)
    reference = own.copy()
    reference[0] = spec.threshold + side[0] * 0.03
    far = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    reference = np.where(far == 1.0, np.where(own[3:].mean() >= spec.threshold, 0.0, 1.0), reference)
    (found,) = measure_shifts(path, spec, (ShiftedImages("blur", images_u8, reference, np.array([0, 1, 2, 3, 3])),))
    assert (found.radiographs, found.decisions_changed, found.share) == (4, 2, 0.5)
    assert len(found.by_distance) == len(BANDS) + 1 and sum(count for count, _ in found.by_distance) == 4
    assert found.by_distance[0][1] == 1 and found.by_distance[-1] == (1, 1)
