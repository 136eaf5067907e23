"""What a translated operation writes: a tensor of Keras, with a scaling that waits for the layer that takes it in.

Factors and offsets of channels (batch normalisation in inference, biases, the scaling of an image) come as separate
operations. They are gathered here, in float64, and go into the weights of the convolution or dense layer before them
where nothing else reads it; what is left becomes one layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers
from numpy.typing import NDArray

from train.int8.keras_graph import writer

New = Callable[..., Any]  # (kind of layer, *its arguments) -> a layer under a name of its own


class Value:
    """A tensor times `factor` plus `offset`.

    Args:
        tensor: of Keras, channels last.
        weights: (layer that wrote it, its kernel as the scaling finds it) where nothing else reads it.
        scaling: (factor, offset), each (channels,); None for none.
    """

    def __init__(
        self,
        tensor: Any,
        weights: tuple[layers.Layer, NDArray[np.float64]] | None = None,
        scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> None:
        channels = tensor.shape[-1]
        self._tensor, self._weights = tensor, weights
        self._factor: NDArray[np.float64]
        self._offset: NDArray[np.float64]
        self._factor, self._offset = scaling or (np.ones(channels), np.zeros(channels))
        self._made: Any = None

    @property
    def channels(self) -> int:
        """How many channels the tensor has."""
        return int(self._tensor.shape[-1])

    @property
    def is_logical(self) -> bool:
        """Whether it is true or false in each place, and no number."""
        return bool(self._tensor.dtype == "bool")

    def scaled(self, factor: Any, offset: Any) -> Value:
        """This times a factor plus an offset; not to be used beside a value that it was made of."""
        return Value(self._tensor, self._weights, (self._factor * factor, self._offset * factor + offset))

    def apart(self, new: New) -> Value:
        """The same, its scaling calculated: what further scalings of it do not touch."""
        return Value(self.tensor(new))

    def tensor(self, new: New) -> Any:
        """The tensor of Keras, its scaling calculated."""
        if self._made is None:
            self._made = self._calculated(new)
        return self._made

    def _calculated(self, new: New) -> Any:
        if self._weights is not None:
            layer, kernel = self._weights
            by_output = self._factor
            if isinstance(layer, layers.DepthwiseConv2D):
                by_output = by_output.reshape(kernel.shape[-2:])
            layer.set_weights([kernel * by_output, self._offset])
            return self._tensor
        if (self._factor == 1.0).all() and (self._offset == 0.0).all():
            return self._tensor
        uniform = np.ptp(self._factor) == 0.0 and np.ptp(self._offset) == 0.0
        if uniform:
            return new(layers.Rescaling, float(self._factor[0]), float(self._offset[0]))(self._tensor)
        if isinstance(writer(self._tensor), layers.InputLayer):
            return new(layers.Rescaling, self._factor.tolist(), self._offset.tolist())(self._tensor)
        normalisation = new(layers.BatchNormalization, epsilon=0.0)
        output = normalisation(self._tensor)
        normalisation.set_weights([self._factor, self._offset, np.zeros(self.channels), np.ones(self.channels)])
        return output
