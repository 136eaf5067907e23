"""Min-max: the range of a tensor is the smallest and the largest value that calibration caused. The plain way."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from export.qdq import QdqScheme, to_int8_onnx
from export.ranges import measure_ranges
from export.recipes import Material
from export.to_tflite import to_int8_tflite


class MinMax:
    """The full range of every tensor, in both formats."""

    name = "minmax"

    def __init__(self, scheme: QdqScheme | None = None) -> None:
        self._scheme = scheme or QdqScheme()

    def quantize(self, model: keras.Model, float_files: Mapping[str, bytes], material: Material) -> dict[str, bytes]:
        """See `Recipe.quantize`."""
        quantized, calibration = {}, material.calibration
        if ".tflite" in float_files:
            ranges = measure_ranges(float_files[".tflite"], calibration.inputs)
            quantized[".tflite"] = to_int8_tflite(float_files[".tflite"], ranges)
        if ".onnx" in float_files:
            quantized[".onnx"] = to_int8_onnx(float_files[".onnx"], calibration.inputs, self._scheme)
        return quantized
