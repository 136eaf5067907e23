"""Operations of Keras between layers (`x / 127.5`, `keras.ops.mean(x)`) as layers: then a graph has one kind."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, tree

from export.inputs.foreign.precision import retyped


class Slot:
    """Stands where an argument is the layer's n-th input tensor."""

    def __init__(self, index: int) -> None:
        self.index = index


class OperationLayer(layers.Layer):
    """One call of a keras operation with the constants that it was called with.

    Args:
        operation: of keras.ops, as it stands in a functional graph; it has no state.
        call_arguments: (args, kwargs) of the call, with a Slot for each input tensor.
        chosen: which of its outputs, where it has several.
    """

    def __init__(self, operation: Any, call_arguments: Any, chosen: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.operation = operation
        self.call_arguments = call_arguments
        self.chosen = chosen

    def call(self, inputs: Any) -> Any:
        """What the operation makes of the layer's inputs, one tensor or a list of them: its chosen output."""
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        args, kwargs = tree.map_structure(lambda value: self._value(value, tensors), self.call_arguments)
        return tree.flatten(self.operation.call(*args, **kwargs))[self.chosen]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for copies inside this process."""
        own = {"operation": self.operation, "call_arguments": self.call_arguments, "chosen": self.chosen}
        return {**super().get_config(), **own}

    def _value(self, value: Any, tensors: Any) -> Any:
        if isinstance(value, Slot):
            return tensors[value.index]
        if is_constant(value) and np.issubdtype(np.asarray(value).dtype, np.floating):
            return keras.ops.convert_to_tensor(np.asarray(value, np.float64), self.compute_dtype)
        return value


class CalledLayer(layers.Layer):
    """A layer that is called with several arguments, such as attention, as one that reads a list of tensors.

    Args:
        layer: of Keras, with a configuration of its own.
        call_arguments: as of OperationLayer.
    """

    def __init__(self, layer: layers.Layer, call_arguments: Any, **options: Any) -> None:
        super().__init__(**options)
        self.layer = layer
        self.call_arguments = call_arguments

    def call(self, inputs: Any) -> Any:
        """What the layer makes of its arguments."""
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        args, kwargs = tree.map_structure(
            lambda value: tensors[value.index] if isinstance(value, Slot) else value, self.call_arguments
        )
        return self.layer(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for copies inside this process."""
        return {**super().get_config(), "layer": self.layer, "call_arguments": self.call_arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CalledLayer:
        """A copy around a layer of its own, without weights yet."""
        inner = config["layer"]
        own = type(inner).from_config(retyped(inner.get_config(), config["dtype"]))
        return cls(**{**config, "layer": own})


class ChannelSlice(layers.Layer):
    """Some channels of an image.

    Args:
        start: the first of them.
        stop: the one behind the last.
    """

    def __init__(self, start: int, stop: int, **options: Any) -> None:
        super().__init__(**options)
        self.start, self.stop = start, stop

    def call(self, images: Any) -> Any:
        """(N, H, W, stop - start)."""
        return images[..., self.start : self.stop]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "start": self.start, "stop": self.stop}


def is_constant(value: Any) -> bool:
    """Whether an argument is an array or a tensor with values, in place of a number or a symbol."""
    return isinstance(value, np.ndarray) or (keras.ops.is_tensor(value) and not isinstance(value, keras.KerasTensor))
