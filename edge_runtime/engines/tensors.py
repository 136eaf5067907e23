"""Between grey images and the tensors of a deployed file, by the spec alone: the same for every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.quantization import GREY_SCALE, GREY_ZERO_POINT, dequantize, grey_to_float, grey_to_int8
from edge_runtime.spec import ModelSpec, Tensor

_SCALE_RELATIVE_ERROR = 1e-6  # a scale is stored as float32


def encode_input(image_u8: NDArray[np.uint8], tensor: Tensor) -> NDArray[np.generic]:
    """(1, S, S, 1) in the dtype of the input tensor, from a grey uint8 (S, S) image."""
    batch_u8 = image_u8.reshape(1, *image_u8.shape, 1)
    stored: NDArray[np.generic] = grey_to_float(batch_u8) if tensor.dtype == "float32" else grey_to_int8(batch_u8)
    return stored


def decode_output(stored: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    """float32 real values without the batch axis; a single value comes as shape ()."""
    first = stored[0]
    value = first.reshape(()) if first.size == 1 else first
    if tensor.scale is None or tensor.zero_point is None:
        real: NDArray[np.float32] = value.astype(np.float32)
        return real
    return dequantize(value, tensor.scale, tensor.zero_point)


def check_tensor(expected: Tensor, dtype: str, scale: float, zero_point: int, where: str) -> None:
    """Refuses a file whose tensor is not the one that its spec describes.

    Args:
        expected: from the spec.
        dtype: numpy name of the type in the file.
        scale: as in the file; 0.0 where the format tells none.
        zero_point: as in the file; ignored where the scale is 0.0.
        where: the file, for the message.

    Raises:
        ModelError: they differ.
    """
    same = dtype == expected.dtype
    if same and expected.scale is not None and scale:
        close = abs(scale - expected.scale) <= _SCALE_RELATIVE_ERROR * expected.scale
        same = close and zero_point == expected.zero_point
    if not same:
        raise ModelError(
            f"{where}: tensor {expected.name!r} is {dtype} (scale {scale}, zero point {zero_point}), "
            f"its spec says {expected.dtype} (scale {expected.scale}, zero point {expected.zero_point}); "
            "export it again"
        )


def check_input_contract(spec: ModelSpec, where: str) -> None:
    """Refuses a file whose input is not grey / 255, or grey - 128 in int8.

    Raises:
        ModelError: it is something else.
    """
    tensor = spec.input
    is_float = tensor.dtype == "float32"
    is_grey = tensor.scale is not None and abs(tensor.scale - GREY_SCALE) <= _SCALE_RELATIVE_ERROR * GREY_SCALE
    if not is_float and not (tensor.dtype == "int8" and is_grey and tensor.zero_point == GREY_ZERO_POINT):
        raise ModelError(
            f"{where}: the input must be float32, or int8 with scale 1/255 and zero point -128, not {tensor}"
        )
