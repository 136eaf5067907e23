"""`.tflite`: made by TensorFlow's converter, float and int8, its tensors shown by LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.model_formats.flatbuffer import TFLITE as ON_DEVICE
from export.convert.formats.model_format import Calibrated, ModelFormat, as_stored
from export.convert.tflite_tensors import tflite_tensors, with_all_tensors

if TYPE_CHECKING:
    import keras

_CONVERTING = {"DEQUANTIZE", "QUANTIZE", "DELEGATE"}  # operators that calculate nothing of the network


def _convert(network: keras.Model) -> bytes:
    from export.convert.to_tflite import to_float_tflite

    return to_float_tflite(network)


def _quantise(calibrated: Calibrated) -> bytes:
    from export.convert.tflite_tensors import only_inside
    from export.convert.to_tflite import to_int8_tflite
    from export.inputs.foreign.float_layers import float_layers, in_scope_of

    names = [name for layers in float_layers(calibrated.network, TFLITE.suffix).values() for name in layers]
    if not names:
        return to_int8_tflite(calibrated.float_tflite, calibrated.ranges)
    inside = only_inside(calibrated.float_tflite, in_scope_of(names))
    ranges = {index: limits for index, limits in calibrated.ranges.items() if index not in inside}
    return to_int8_tflite(calibrated.float_tflite, ranges, is_mixed=True)


def _float_operators(content: bytes) -> tuple[str, ...]:
    interpreter = with_all_tensors(content)
    dtypes = {detail["index"]: detail["dtype"] for detail in interpreter.get_tensor_details()}
    kinds = [
        str(operator["op_name"])
        for operator in interpreter._get_ops_details()
        if any(dtypes.get(int(index)) is np.float32 for index in operator["outputs"])
    ]
    return tuple(dict.fromkeys(kind for kind in kinds if kind not in _CONVERTING))


class TfliteGraph:
    """A `.tflite` file that shows its tensors, see `TensorGraph`."""

    channel_axis = -1

    def __init__(self, path: Path) -> None:
        self._interpreter = with_all_tensors(path.read_bytes())
        (self._entry,) = self._interpreter.get_input_details()
        details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        written = [
            (operator["op_name"], int(operator["outputs"][0])) for operator in self._interpreter._get_ops_details()
        ]
        kept = [(kind, details[index]) for kind, index in written if details[index]["dtype"] in (np.float32, np.int8)]
        self._outputs = [detail for _, detail in kept]
        self.operators = [(kind, detail["name"], tuple(map(int, detail["shape"]))) for kind, detail in kept]

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        self._interpreter.set_tensor(self._entry["index"], as_stored(image_u8, self._entry["dtype"]))
        self._interpreter.invoke()
        return [_real(self._interpreter.get_tensor(detail["index"]), detail) for detail in self._outputs]


def _real(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    if values.dtype == np.float32:
        return np.asarray(values, np.float32)
    scale, zero_point = detail["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)


TFLITE = ModelFormat(ON_DEVICE.suffix, tflite_tensors, _convert, _quantise, _float_operators, TfliteGraph)
