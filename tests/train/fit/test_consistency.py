"""Networks that learn from pairs: exact features, and those that an int8 device would see."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.fit.consistency import measure_bounds, pair_from, rounded_like_int8  # noqa: E402
from train.int8.fake_quant import put_on_grid  # noqa: E402
from train.int8.layer_kinds import is_rounded  # noqa: E402
from train.models import NETWORKS  # noqa: E402
from train.networks import POOL as SEAM  # noqa: E402


def test_rounded_features_differ_from_the_exact_by_rounding_alone(mobilenetv2, images):
    bounds = measure_bounds(mobilenetv2, SEAM, images)
    assert set(bounds) == {layer.name for layer in mobilenetv2.layers if is_rounded(layer)} - {"probability"}
    (rounded,) = rounded_like_int8(mobilenetv2, [SEAM], bounds)
    both = keras.Model(mobilenetv2.inputs, [mobilenetv2.get_layer(SEAM).output, rounded])
    exact, rounded = both.predict_on_batch(images)
    lowest, highest = bounds[SEAM]
    step = (highest - min(lowest, 0.0)) / 255.0
    assert 0.0 < np.abs(exact - rounded).mean() < 20 * step
    np.testing.assert_allclose(rounded / step, np.round(rounded / step), atol=1e-3)


@pytest.mark.parametrize("seam", [SEAM, NETWORKS["mobilenetv2"].cut])
def test_a_pair_answers_as_its_network_and_its_loss_knows_the_disagreement(mobilenetv2, images, seam):
    mobilenetv2.get_layer("probability").trainable = True
    features = keras.Model(mobilenetv2.inputs, mobilenetv2.get_layer(seam).output).predict_on_batch(images)
    put_on_grid(mobilenetv2)
    features = keras.Model(mobilenetv2.inputs, mobilenetv2.get_layer(seam).output).predict_on_batch(images)
    pair = pair_from(mobilenetv2, seam)
    np.testing.assert_allclose(pair.exact(features), mobilenetv2.predict_on_batch(images), atol=1e-5)

    def penalty(other):
        pair.training([features, other])
        return float(sum(pair.training.losses))

    assert penalty(features) < penalty(features + 1.0)
