"""Equalised channels, least-squares ranges and corrected biases, with weights rounded to the nearest integers."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from export.convert.grey_network import as_input
from export.quantize.activation_ranges import least_squares_ranges
from export.quantize.int8_files import quantise_network
from export.quantize.recipes import Material
from export.quantize.weight_rounding import Rounding, nearest, reconstruct
from train.int8.batchnorm_folding import folded
from train.int8.equalisation import equalise

IMAGES = 64  # calibration images that layers are reconstructed on; all in memory at once


class Equalised:
    """Every channel fills its tensor's range, and each layer's bias takes up the mean error (arXiv:1906.04721)."""

    name = "equalised"
    rounding: Rounding = staticmethod(nearest)

    def quantize(self, model: keras.Model, float_files: Mapping[str, bytes], material: Material) -> dict[str, bytes]:
        """See `Recipe.quantize`."""
        network = self._network(model, material)
        return quantise_network(network, tuple(float_files), material.calibration, least_squares_ranges)

    def _network(self, model: keras.Model, material: Material) -> keras.Model:
        """The folded network with its weights on the int8 grid."""
        network = folded(model)
        if not network.layers[-1].get_weights():
            raise ModelError(f"{model.name}: its last layer is not the dense one that gives the probability")
        material.tell(f"{self.name}: equalising channels")
        equalise(network, as_input(material.calibration.images_u8))
        self._round(network, as_input(material.calibration.spread(IMAGES)), material)
        return network

    def _round(self, network: keras.Model, images: NDArray[np.float32], material: Material) -> None:
        """Puts the weights on the int8 grid, in place."""
        material.tell(f"{self.name}: rounding weights layer by layer on {len(images)} images")
        reconstruct(network, images, self.rounding)
