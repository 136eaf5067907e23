"""What reaches the optimiser: the right images, changed as asked, the same for the same seed."""

import numpy as np
import pytest

from train.config import Augmentation
from train.fit.backend import prepare_backend

prepare_backend(0)

from train.data.batches import (  # noqa: E402
    CELL,
    augmented_images,
    augmented_with_cells,
    balanced_order,
    epoch_order,
    plain_images,
    weigh,
    with_targets,
)

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


def test_some_images_are_turned_by_any_angle_and_all_others_as_without_that():
    array = np.zeros((1, 64, 64), np.uint8)
    array[0, 4:20, 30:34] = 255  # a bar that points upwards
    rows = np.zeros(400, np.int64)
    small, mixed = (
        collect(augmented_images(array, rows, 40, Augmentation(10.0, 0.0, 0.0, False, share), 5))[..., 0]
        for share in (0.0, 0.3)
    )
    above = small[:, :32].sum(axis=(1, 2)) / small.sum(axis=(1, 2))
    assert above.min() > 0.99
    same = np.all(small == mixed, axis=(1, 2))
    assert 0.25 < 1 - same.mean() < 0.35
    turned = mixed[~same]
    is_below = turned[:, 32:].sum(axis=(1, 2)) > turned[:, :32].sum(axis=(1, 2))
    assert 0.35 < is_below.mean() < 0.65
    # By so much that a turned file, whose corners are kept, shows its bones smaller: up to half of the area.
    area = turned.sum(axis=(1, 2)) / small[0].sum()
    assert 0.45 < area.min() < 0.6 and 0.95 < area.max() < 1.05


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


def test_boxes_are_changed_as_their_image_is():
    grey = np.zeros((1, 96, 96), np.uint8)
    grey[0, 32:64, 0:32] = 255
    boxes = {0: np.array([[0, 32, 32, 64]], np.float32)}
    rows = np.zeros(8, np.int64)
    ((images, cells),) = augmented_with_cells(
        grey, boxes, rows, 8, Augmentation(180.0, 0.1, 0.2), seed=3
    ).as_numpy_iterator()
    assert images.shape == (8, 96, 96, 3)
    # What is white is boxed: so each cell is boxed as far as it is white.
    np.testing.assert_allclose(
        cells, images[..., 0].reshape(8, 96 // CELL, CELL, 96 // CELL, CELL).mean(axis=(2, 4)), atol=1e-5
    )
    assert np.ptp(cells, axis=0).max() > 0.5  # and they were changed


def test_without_augmentation_cells_tell_how_much_of_them_is_boxed():
    boxes = {1: np.array([[CELL, 0, 2 * CELL, CELL / 2]], np.float32)}
    images_u8 = np.zeros((2, 2 * CELL, 2 * CELL), np.uint8)
    ((_, cells),) = augmented_with_cells(images_u8, boxes, np.array([0, 1]), 2, None).as_numpy_iterator()
    np.testing.assert_array_equal(cells, [[[0, 0], [0, 0]], [[0, 0.5], [0, 0]]])


def test_a_balanced_order_has_the_rarer_class_often_and_no_row_twice_before_all_were_there():
    examples = weigh(np.arange(100), (np.arange(100) < 10).astype(np.int64))
    order = balanced_order(examples, draws=6, least_share=0.35, seed=0, epoch=0)
    assert order.rows.size == 100 and order.labels.sum() == 35
    np.testing.assert_array_equal(order.labels, order.rows % 100 < 10)
    assert np.unique(order.rows).size == 100
    assert order.weights[order.labels == 1].sum() == pytest.approx(order.weights[order.labels == 0].sum())
    other = balanced_order(examples, draws=6, least_share=0.35, seed=0, epoch=1)
    assert not np.array_equal(order.rows, other.rows)
    few = balanced_order(examples, draws=1, least_share=0.35, seed=0, epoch=0)
    assert np.bincount(few.rows[few.labels == 1], minlength=10).tolist().count(4) == 5  # 35 of 10: 3 or 4 times each


def test_a_class_that_is_no_rarer_than_that_keeps_its_share():
    examples = weigh(np.arange(10), (np.arange(10) < 4).astype(np.int64))
    assert balanced_order(examples, draws=2, least_share=0.35, seed=0, epoch=0).labels.sum() == 4
