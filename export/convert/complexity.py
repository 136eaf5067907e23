"""What export takes out of a network without changing an answer: operations, bytes, and the proof."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from export.convert.grey_network import float_probabilities, in_float64
from train.int8.batchnorm_folding import foldable

_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Gains:
    """The trained network beside the one that int8 files calculate, before any rounding."""

    operations_before: int  # multiplications with addition, for one image
    operations_after: int  # with one grey channel, normalisation and scaling inside the convolutions
    bytes_before: int  # of its weights in float32, a quarter of which int8 needs for most of them
    bytes_after: int  # the same
    largest_difference: float | None  # of a probability between both, in float64; None where nothing could be folded

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        if self.largest_difference is None:
            return "nothing, this network cannot be folded"
        return (
            f"{self.operations_before / 1e6:.1f} to {self.operations_after / 1e6:.1f} million multiply-additions an "
            f"image, {self.bytes_before:,} to {self.bytes_after:,} bytes of float32 weights; in float64 no probability "
            f"differs by more than {self.largest_difference:.0e}"
        )


def measure_gains(model: keras.Model, grey_model: keras.Model, images_u8: NDArray[np.uint8]) -> Gains:
    """What folding gains, with the largest difference of the answers.

    Args:
        model: as trained.
        grey_model: with one grey channel, as export.convert.grey_network makes it.
        images_u8: (n, S, S), on which the answers are compared.
    """
    after = foldable(grey_model)
    difference = None
    if after is not None:
        answers = [float_probabilities(in_float64(network), images_u8) for network in (model, after)]
        difference = float(np.abs(answers[0] - answers[1]).max())
    before, after = model, after or grey_model
    sizes = (_FLOAT32_BYTES * network.count_params() for network in (before, after))
    return Gains(operations(before), operations(after), *sizes, difference)


def operations(model: keras.Model) -> int:
    """Multiplications with addition for one image: of weighted layers, normalisation and scaling."""
    return sum(operations_of_layer(layer) for layer in model.layers)


def operations_of_layer(layer: layers.Layer) -> int:
    """As `operations`, of one layer."""
    if isinstance(layer, keras.Model):
        return operations(layer)
    values = int(np.prod(layer.output.shape[1:])) if hasattr(layer, "output") else 0
    if isinstance(layer, layers.DepthwiseConv2D):
        return values * int(np.prod(layer.kernel_size))
    if isinstance(layer, (layers.Conv2D, layers.Dense)):
        return values * int(np.prod(layer.kernel.shape[:-1]))
    return values if isinstance(layer, (layers.BatchNormalization, layers.Rescaling)) else 0
