"""Networks that learn from pairs: exact features, and those that an int8 device would see."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.fit.consistency import (  # noqa: E402
    Apart,
    Disagreement,
    PairedDropout,
    TakenApart,
    call_apart,
    measure_bounds,
    rounded_like_int8,
)
from train.int8.layer_kinds import is_rounded  # noqa: E402

SEAM = "out_relu"


def test_rounded_features_differ_from_the_exact_by_rounding_alone(mobilenetv2, images):
    bounds = measure_bounds(mobilenetv2, SEAM, images)
    names = [layer.name for layer in mobilenetv2.layers]
    assert set(bounds) == {name for name in names[: names.index(SEAM) + 1] if is_rounded(mobilenetv2.get_layer(name))}
    (rounded,) = rounded_like_int8(mobilenetv2, [SEAM], bounds)
    both = keras.Model(mobilenetv2.inputs, [mobilenetv2.get_layer(SEAM).output, rounded])
    exact, rounded = both.predict_on_batch(images)
    lowest, highest = bounds[SEAM]
    step = (highest - min(lowest, 0.0)) / 255.0
    assert 0.0 < np.abs(exact - rounded).mean() < 20 * step
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-3)


@pytest.mark.parametrize("rows, images", [(8, 6), (6, 5), (3, 3), (1, 1)])
def test_on_their_way_pairs_are_rounded_and_images_are_not(rows, images):
    batch = np.random.default_rng(1).normal(size=(rows, 4, 4, 3)).astype(np.float32)
    double = keras.layers.Rescaling(2.0)
    exact, rounded = (
        np.asarray(call_apart(double, [Apart(*TakenApart()(batch))], rounds).together()) for rounds in (False, True)
    )
    np.testing.assert_array_equal(exact, 2.0 * batch)
    np.testing.assert_array_equal(rounded[:images], exact[:images])
    if images < rows:
        pairs = exact[images:]
        step = (pairs.max() - pairs.min()) / 255.0
        # Bounds are moved by up to half a step, so that zero is an integer.
        assert 0.2 * step < np.abs(rounded[images:] - pairs).mean() < np.abs(rounded - exact).max() < 1.01 * step


def test_an_image_and_its_pair_lose_the_same_channels():
    dropped = np.asarray(PairedDropout(0.5)(np.ones((8, 2, 2, 16), np.float32), training=True))
    np.testing.assert_array_equal(dropped[:2], dropped[6:])
    assert set(np.unique(dropped)) == {0.0, 2.0}
    np.testing.assert_array_equal(dropped[:, :1, :1], dropped[:, 1:, 1:])
    assert not np.array_equal(dropped[2:4], dropped[6:])


def test_disagreement_costs_what_pairs_differ_by_and_changes_nothing():
    opinions = np.zeros((8, 2), np.float32)
    opinions[:2], opinions[6:] = [[1.0, 2.0], [0.0, 0.0]], [[1.0, 4.0], [0.0, 0.0]]
    opinions[3] = 100.0  # has no pair
    layer = Disagreement(weight=2.0)
    np.testing.assert_array_equal(layer(opinions, training=True), opinions)
    # The answers differ by 1 in one of two images, the opinions by 2 in one of four.
    assert float(sum(layer.losses)) == pytest.approx(2.0 * 0.5 * (1.0 / 2 + 4.0 / 4))


def test_a_batch_of_one_image_has_no_pair_and_disagrees_in_nothing():
    layer = Disagreement(weight=2.0)
    layer(np.ones((1, 2), np.float32), training=True)
    assert float(sum(layer.losses)) == 0.0
