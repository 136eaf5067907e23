"""What an export does with a format of model files, as one record; how its bytes are laid out, the device knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.quantization import grey_to_float, grey_to_int8
from edge_runtime.spec import Tensor
from export.convert.tflite_tensors import Inputs, Ranges

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Calibrated:
    """A network whose tensors have ranges: what an int8 file of any format is made from."""

    network: keras.Model  # takes `grey`, (N, S, S, 1), 0 to 1; its weights are rounded as they are
    float_tflite: bytes  # file of it, in which the ranges were measured; its logit may stand in it several times
    ranges: Ranges  # of the tensors of that file
    inputs: Inputs  # calibration inputs


class TensorGraph(Protocol):
    """A model file that shows its tensors."""

    operators: list[tuple[str, str, tuple[int, ...]]]  # (type, name of the output, its shape) in order of execution
    channel_axis: int  # of a tensor

    def read(self, image_u8: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The real values that each operator writes for one grey image, (S, S)."""


@dataclass(frozen=True)
class ModelFormat:
    """One format, of float32 and of int8 files."""

    suffix: str  # as in edge_runtime.model_formats, which embeds specs and reads them
    read: Callable[[bytes], tuple[Tensor, ...]]  # (file) -> its named input and outputs, with their scales
    convert: Callable[[keras.Model], bytes]  # (network that takes `grey`) -> float32 file
    quantise: Callable[[Calibrated], bytes]  # -> int8 file
    float_operators: Callable[[bytes], tuple[str, ...]]  # (int8 file) -> kinds of operators that calculate in float
    show: Callable[[Path], TensorGraph]  # (file of either precision) -> what it calculates on the way


def as_stored(image_u8: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """(1, S, S, 1), as a float32 or an int8 file takes a grey image.

    Args:
        image_u8: (S, S).
        dtype: of the file's input.
    """
    stored: NDArray[Any] = grey_to_int8(image_u8) if np.dtype(dtype) == np.int8 else grey_to_float(image_u8)
    return stored[np.newaxis, ..., np.newaxis]
