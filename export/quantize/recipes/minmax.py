"""Min-max: the range of a tensor is the smallest and the largest value that calibration caused. The plain way."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from export.convert.to_int8_onnx import QdqScheme
from export.quantize.activation_ranges import measure_ranges
from export.quantize.int8_files import RangeRule, quantise_network
from export.quantize.recipes import Material
from train.int8.batchnorm_folding import foldable


class MinMax:
    """The full range of every tensor, the same in both formats.

    Networks of edge-train need no more: their weights lie on the int8 grid already, and they were trained with the
    rounding that this recipe does on the same calibration images.
    """

    name = "minmax"
    rule: RangeRule = staticmethod(measure_ranges)

    def __init__(self, scheme: QdqScheme | None = None) -> None:
        self._scheme = scheme

    def quantize(self, model: keras.Model, float_files: Mapping[str, bytes], material: Material) -> dict[str, bytes]:
        """See `Recipe.quantize`."""
        # Unfolded, the scaling of the input is rounded on its own, half a step off everywhere.
        network = foldable(model) or model
        return quantise_network(network, tuple(float_files), material.calibration, self.rule, self._scheme)
