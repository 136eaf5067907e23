"""How weights come onto the int8 grid."""

from __future__ import annotations

import logging

import keras
import numpy as np

from export.convert.grey_network import as_input
from export.quantize.channel_duplication import choose_copies, costs_with, with_copies
from export.quantize.fine_tuning import fine_tune
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quantize.sensitivity import logit_changes
from export.quantize.weight_rounding import ChooseIntegers, learned_integers, nearest_integers, reconstruct
from train.int8.fake_quant import lies_on_grid
from train.int8.grid import range_scale
from train.int8.keras_graph import again, rebuild
from train.int8.layer_kinds import WEIGHTED
from train.int8.layer_ranges import IMAGES as RANGE_IMAGES
from train.int8.layer_ranges import layer_ranges

IMAGES = 64  # calibration images that layers are reconstructed on; all in memory at once

# Of the network without copies. On validation images of multiregion 1.6 and 2.0 times the operations of MobileNetV2
# took the 99th percentile of the change of probability from 0.043 to 0.026 and 0.020 (`.onnx`: 0.051, 0.028, 0.018).
# What is left then sits in deep layers, whose weights are most of the file; the last of these figures had 1.035 times
# the weights, at which `.tflite` no longer keeps to 2.8 MB.
MOST_OPERATIONS, MOST_WEIGHTS = 2.0, 1.03
# A small network may grow by so many at least: 50 million operations take a Raspberry Pi 4 some 3 ms.
FREE_OPERATIONS, FREE_WEIGHTS = 50_000_000, 60_000

log = logging.getLogger(__name__)


def by_converter(network: keras.Model, inputs: RecipeInputs) -> keras.Model:
    """As it is: the converter rounds each weight to the nearest integer, channel by channel."""
    return network


def nearest(network: keras.Model, inputs: RecipeInputs) -> keras.Model:
    """The nearest integers, and biases that take up the mean error (Nagel et al. 2019, arXiv:1906.04721); in place."""
    return _reconstructed(network, inputs, nearest_integers)


def learned(network: keras.Model, inputs: RecipeInputs) -> keras.Model:
    """The integers that answer best to inputs that are rounded themselves, see weight_rounding.py; in place."""
    return _reconstructed(network, inputs, learned_integers)


def fine_tuned(network: keras.Model, inputs: RecipeInputs) -> keras.Model:
    """All weights learn, through the rounding, to give each tensor of the trained network again; in place."""
    teacher = rebuild(network, again)
    kernels = {layer.name: layer.get_weights()[0] for layer in network.layers if isinstance(layer, WEIGHTED)}
    reconstruct(network, as_input(inputs.calibration.spread(IMAGES)), nearest_integers)
    for name, kernel in kernels.items():  # the corrected biases stay; what rounding took off the kernels comes back
        layer = network.get_layer(name)
        layer.set_weights([kernel, *layer.get_weights()[1:]])
    log.info("reading training images")
    fine_tune(network, teacher, inputs.training(), inputs.budget_minutes, inputs.state)
    return network


def learned_with_copies(network: keras.Model, inputs: RecipeInputs) -> keras.Model:
    """As `learned` unless the weights lie on the grid; then channels several times where rounding costs most."""
    if not lies_on_grid(network):
        network = learned(network, inputs)
    images = as_input(inputs.calibration.spread(RANGE_IMAGES))
    ranges = layer_ranges(network, images)
    variances = {name: float(np.mean(one**2)) for name, one in logit_changes(network, images, ranges).items()}
    operations, weights = costs_with(network, {})
    most_operations = max(MOST_OPERATIONS * operations, operations + FREE_OPERATIONS)
    copies = choose_copies(network, variances, most_operations, max(MOST_WEIGHTS * weights, weights + FREE_WEIGHTS))
    after, _ = costs_with(network, copies)
    log.warning(
        "duplicated channels cost time on the device: %.0f million multiply-additions an image become %.0f (%.2f x)",
        *(operations / 1e6, after / 1e6, after / operations),
    )
    steps = {name: range_scale(lowest, highest) for name, (lowest, highest) in ranges.items()}
    return with_copies(network, copies, steps)


def _reconstructed(network: keras.Model, inputs: RecipeInputs, choose: ChooseIntegers) -> keras.Model:
    images = as_input(inputs.calibration.spread(IMAGES))
    log.info("rounding weights layer by layer on %d images", len(images))
    reconstruct(network, images, choose)
    return network
