"""What reaches the optimiser: the right images, changed as asked, the same for the same seed."""

import numpy as np
import pytest

from train.config import Augmentation
from train.fit.backend import prepare_backend

prepare_backend(0)

from train.data.batches import augmented_images, epoch_order, plain_images, weigh, with_targets  # noqa: E402

NONE = Augmentation(rotation_degrees=0.0, shift=0.0, zoom=0.0, flip=False)
# Bilinear resampling at whole pixel positions; what is left is float32 rounding of the transform.
RESAMPLING_TOLERANCE = 1e-4
RIM_PIXELS = 1.5  # to either side of an edge, where resampling blends


def disc(side=64):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return (255 * (np.hypot(x, y) < side / 3)).astype(np.uint8)


def images(count=6, side=64):
    return np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)


def collect(batches):
    return np.concatenate(list(batches.as_numpy_iterator()))


def test_plain_images_are_grey_over_255_in_three_channels():
    array = images()
    batch = collect(plain_images(array, np.array([3, 1]), 2))
    assert batch.dtype == np.float32 and batch.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(batch[0, :, :, 0], array[3].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(batch[..., 0], batch[..., 2])


def test_augmentation_of_nothing_changes_nothing():
    array, rows = images(), np.arange(6)
    plain, augmented = collect(plain_images(array, rows, 4)), collect(augmented_images(array, rows, 4, NONE, 0))
    np.testing.assert_allclose(augmented, plain, atol=RESAMPLING_TOLERANCE)


def test_flips_are_exact_mirror_images():
    array, rows = images(), np.zeros(40, np.int64)
    flipped = collect(augmented_images(array, rows, 8, Augmentation(0.0, 0.0, 0.0, True), 0))[..., 0]
    plain = array[0].astype(np.float32) / 255
    kinds = [plain, plain[:, ::-1], plain[::-1], plain[::-1, ::-1]]
    found = [[np.abs(image - kind).max() < RESAMPLING_TOLERANCE for kind in kinds].index(True) for image in flipped]
    assert set(found) == {0, 1, 2, 3}


def test_rotation_and_flip_keep_a_centred_disc():
    array = disc()[None]
    turned = collect(augmented_images(array, np.zeros(8, np.int64), 8, Augmentation(180.0, 0.0, 0.0, True), 3))[..., 0]
    inside_or_out = np.abs(np.hypot(*(np.mgrid[:64, :64] - 31.5)) - 64 / 3) > RIM_PIXELS
    np.testing.assert_allclose(
        turned[:, inside_or_out],
        np.broadcast_to(array[0][inside_or_out] / 255, (8, inside_or_out.sum())),
        atol=RESAMPLING_TOLERANCE,
    )


def test_the_same_seed_draws_the_same_and_another_draws_otherwise():
    array, rows = images(), np.arange(6)
    first = collect(augmented_images(array, rows, 4, Augmentation(), 1))
    np.testing.assert_array_equal(first, collect(augmented_images(array, rows, 4, Augmentation(), 1)))
    assert np.abs(first - collect(augmented_images(array, rows, 4, Augmentation(), 2))).max() > 0.1


def test_every_image_of_an_epoch_keeps_its_label():
    array = np.repeat(np.arange(20, dtype=np.uint8)[:, None, None], 32, 1).repeat(32, 2)
    examples = weigh(np.arange(20), (np.arange(20) % 3 == 0).astype(np.int64))
    order = epoch_order(examples, seed=0, epoch=4)
    seen = {}
    for batch, label, _ in with_targets(plain_images(array, order.rows, 8), order, 8).as_numpy_iterator():
        seen |= {round(float(image[0, 0, 0]) * 255): int(one[0]) for image, one in zip(batch, label, strict=True)}
    assert seen == {number: int(number % 3 == 0) for number in range(20)}


@pytest.mark.parametrize("positives", [1, 5, 9])
def test_both_classes_weigh_the_same(positives):
    labels = (np.arange(10) < positives).astype(np.int64)
    examples = weigh(np.arange(10), labels)
    assert examples.weights[labels == 1].sum() == pytest.approx(examples.weights[labels == 0].sum())
    assert examples.weights.mean() == pytest.approx(1.0)
