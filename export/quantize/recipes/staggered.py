"""Finer steps where rounding costs most: the tensors of narrow, early layers are kept several times."""

from __future__ import annotations

import keras
import numpy as np

from edge_runtime.errors import ModelError
from export.convert.grey_network import as_input
from export.quantize.channel_duplication import choose_copies, costs_with, staggered
from export.quantize.logit_duplication import ends_with_one_sigmoid
from export.quantize.recipes import Material
from export.quantize.recipes.rounded import Rounded
from export.quantize.sensitivity import logit_changes
from train.int8.batchnorm_folding import folded
from train.int8.fake_quant import lies_on_grid
from train.int8.grid import range_scale
from train.int8.layer_ranges import IMAGES, layer_ranges

# Of the network without copies. On validation images of multiregion 1.6 and 2.0 times the operations of MobileNetV2
# took the 99th percentile of the change of probability from 0.043 to 0.026 and 0.020 (`.onnx`: 0.051, 0.028, 0.018).
# What is left then sits in deep layers, whose weights are most of the file; the last of these figures had 1.035 times
# the weights, at which `.tflite` no longer keeps to 2.8 MB.
MOST_OPERATIONS, MOST_WEIGHTS = 2.0, 1.03
# A small network may grow by so many at least: 50 million operations take a Raspberry Pi 4 some 3 ms.
FREE_OPERATIONS, FREE_WEIGHTS = 50_000_000, 60_000


class Staggered(Rounded):
    """As `Rounded`, unless the kernels lie on the int8 grid already; then with copies (see channel_duplication.py)."""

    name = "staggered"

    def _network(self, model: keras.Model, material: Material) -> keras.Model:
        """The folded network with its weights on the int8 grid, and with copies."""
        network = folded(model)
        if not ends_with_one_sigmoid(network):
            raise ModelError(f"{model.name}: its last layer is not the dense one that gives the probability")
        if not lies_on_grid(network):
            network = super()._network(model, material)
        images = as_input(material.calibration.spread(IMAGES))
        ranges = layer_ranges(network, images)
        variances = {name: float(np.mean(one**2)) for name, one in logit_changes(network, images, ranges).items()}
        operations, weights = costs_with(network, {})
        most_operations = max(MOST_OPERATIONS * operations, operations + FREE_OPERATIONS)
        copies = choose_copies(network, variances, most_operations, max(MOST_WEIGHTS * weights, weights + FREE_WEIGHTS))
        after, _ = costs_with(network, copies)
        material.tell(f"{self.name}: {operations / 1e6:.0f} million operations an image become {after / 1e6:.0f}")
        steps = {name: range_scale(lowest, highest) for name, (lowest, highest) in ranges.items()}
        return staggered(network, copies, steps)
