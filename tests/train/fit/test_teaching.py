"""A part learns what its network answers, cell by cell where boxes tell."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from train.data.batches import CELL, weigh  # noqa: E402
from train.fit.teaching import CELLS, STRONGEST, WHOLE, paired_batches, targets, taught_part  # noqa: E402
from train.fit.transfer import _freeze_below  # noqa: E402
from train.int8.fake_quant import put_on_grid  # noqa: E402
from train.models import NETWORKS  # noqa: E402
from train.networks.mobilenetv2 import build_mobilenetv2  # noqa: E402

CUT = NETWORKS["mobilenetv2"].cut
SIDE = 64
IMAGES = 5  # of six rows; the last is the pair of the first


@pytest.fixture(params=["map", "pooled"])
def network(request):
    keras.utils.set_random_seed(1)
    model = build_mobilenetv2(SIDE, 0.35, "none", request.param)
    put_on_grid(model)
    _freeze_below(model, CUT)
    return model


def test_the_mean_of_the_opinions_is_the_answer_of_the_network(network, images):
    part = taught_part(network, CUT)
    features = keras.Model(network.inputs[0], network.get_layer(CUT).output).predict_on_batch(images)
    answer = np.asarray(keras.Model(network.inputs[0], network.outputs[0])(images))
    np.testing.assert_allclose(part.exact(features), answer, atol=1e-5)
    opinions = part.training(features, training=False)
    names = [name for name in (WHOLE, STRONGEST) if name in opinions]
    logit = np.mean([np.asarray(opinions[name]) for name in names], axis=0)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logit[:IMAGES])), answer[:IMAGES], atol=1e-5)
    assert part.has_map == (len(names) == 2)


def test_the_heatmap_is_the_map_that_boxes_teach(images):
    model = build_mobilenetv2(SIDE, 0.35, "none", "map")
    put_on_grid(model)
    _freeze_below(model, CUT)
    features = keras.Model(model.inputs[0], model.get_layer(CUT).output).predict_on_batch(images)
    cells = np.asarray(taught_part(model, CUT).training(features, training=False)[CELLS])
    heatmap = np.asarray(keras.Model(model.inputs[0], model.outputs[1])(images))
    assert heatmap.shape == (6, SIDE // CELL, SIDE // CELL, 1)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-cells[:IMAGES])), heatmap[:IMAGES], atol=1e-5)


def test_boxed_cells_weigh_as_one_image_touched_ones_nothing_and_clear_ones_as_one():
    model = build_mobilenetv2(96, 0.35, "none", "map")
    _freeze_below(model, CUT)
    examples = weigh(np.arange(4), np.array([1, 1, 0, 0]))
    cells = np.zeros((4, 3, 3))
    cells[0, 0] = [0.8, 0.4, 0.1]  # a box over two cells, that touches a third
    labels, weights = targets(taught_part(model, CUT), examples, cells, uncut=np.array([1.3, 0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(labels[CELLS][0, 0, :, 0], [1, 1, 0])
    np.testing.assert_allclose(weights[CELLS][0], [[4.5, 4.5, 0.0], [1, 1, 1], [1, 1, 1]])
    assert not weights[CELLS][1].any()  # fractured, and nobody told where
    np.testing.assert_allclose(weights[CELLS][2], 1.0)
    np.testing.assert_array_equal(weights[WHOLE][:, 0], 1.0)


def test_a_fracture_that_augmentation_moved_out_of_the_image_teaches_nothing():
    model = build_mobilenetv2(96, 0.35, "none", "map")
    _freeze_below(model, CUT)
    cells = np.zeros((2, 3, 3))
    cells[0, 0, 0] = 0.3
    _, weights = targets(taught_part(model, CUT), weigh(np.arange(2), np.array([1, 0])), cells, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(weights[WHOLE][:, 0], [0.0, 1.0])


def test_the_first_third_of_a_batch_comes_again_rounded_with_its_labels():
    exact = np.arange(10, dtype=np.float32)[:, np.newaxis]
    datasets = (tf.data.Dataset.from_tensor_slices(values).batch(6) for values in (exact, -exact))
    labels = ({"whole": exact * 10}, {"whole": exact * 100})
    batches = list(paired_batches(*datasets, labels, 6).as_numpy_iterator())
    features, taught, weights = batches[0]
    np.testing.assert_array_equal(features[:, 0], [0, 1, 2, 3, 4, 5, 0, -1])
    np.testing.assert_array_equal(taught["whole"][:, 0], [0, 10, 20, 30, 40, 50, 0, 10])
    np.testing.assert_array_equal(weights["whole"][:, 0], [0, 100, 200, 300, 400, 500, 0, 100])
    np.testing.assert_array_equal(batches[1][0][:, 0], [6, 7, 8, 9, -6])
