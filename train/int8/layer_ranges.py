"""The range that int8 covers of each tensor of a network, by the name of the layer that ends it.

Files get theirs on all calibration images (export.quantize.activation_ranges); these, from a few, are for what works
on the network.
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from train.int8.keras_graph import layers_in_order
from train.int8.layer_kinds import is_rounded
from train.int8.range_rules import least_squares_range

IMAGES = 32  # enough, all of them in memory at once

_TENSORS_AT_ONCE = 4  # of which values are in memory


def layer_ranges(network: keras.Model, images: NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """(smallest, largest) value of each tensor that int8 rounds, with the least mean square error.

    Not of the probability: export rounds the logit in a way of its own.

    Args:
        network: folded (see train.int8.batchnorm_folding).
        images: (n, S, S, channels), 0 to 1.
    """
    names = [layer.name for layer in layers_in_order(network)[:-1] if is_rounded(layer)]
    ranges: dict[str, tuple[float, float]] = {}
    for first in range(0, len(names), _TENSORS_AT_ONCE):
        some = names[first : first + _TENSORS_AT_ONCE]
        outputs = [network.get_layer(name).output for name in some]
        found = keras.Model(network.inputs[0], outputs).predict_on_batch(images)
        # Of a single output Keras gives the array itself.
        arrays = found if isinstance(found, list) else [found]
        ranges |= {name: least_squares_range(values) for name, values in zip(some, arrays, strict=True)}
    return ranges
