"""What export takes out of a network without changing an answer: operations, bytes, and the proof."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from export.convert.grey_network import float_probabilities, in_float64
from export.convert.prepared_network import PreparedNetwork

_FLOAT32_BYTES = 4


@dataclass(frozen=True)
class FoldingEffect:
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


def measure_folding(prepared: PreparedNetwork, images_u8: NDArray[np.uint8]) -> FoldingEffect:
    """What folding changes: operations, bytes, and no answer.

    Args:
        prepared: the network.
        images_u8: (n, S, S), on which the answers are compared.
    """
    after = prepared.folded
    difference = None
    if after is not None:
        answers = [float_probabilities(in_float64(network), images_u8) for network in (prepared.model, after)]
        difference = float(np.abs(answers[0] - answers[1]).max())
    before, after = prepared.model, after or prepared.grey
    bytes_before, bytes_after = (_FLOAT32_BYTES * network.count_params() for network in (before, after))
    return FoldingEffect(operations(before), operations(after), bytes_before, bytes_after, difference)


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
