"""Training with int8 in mind: weights that int8 holds exactly, and answers that its rounding hardly moves.

Rounding the weights of a finished network is most of the error of its int8 files (FACTS: early depthwise layers above
all), and transfer learning leaves exactly those weights as they were. So they are rounded before anything is learnt
from them: a kernel here is, per output channel, an integer of -127 to 127 times one scale, and stays so through export,
where folding batch normalisation multiplies each channel by one factor. Layers that train do so straight through the
rounding (Bengio et al. 2013, arXiv:1308.3432). What is left is the rounding of activations: a network that reads both
the exact features of an image and those an int8 device would see is taught to answer alike (arXiv:1712.05877).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from train.int8.grid import round_to_grid, weight_scale
from train.int8.keras_graph import Inputs, Tensor, call, layers_below, run_layers
from train.int8.layer_kinds import WEIGHTED

_LEAST_RANGE = 1e-6  # of a tensor that is rounded: int8 has no step of 0
_GRID_TOLERANCE = 1e-5  # of the largest weight; half a step of a layer's largest channel is 0.004


class OnGrid(layers.Layer):
    """A weighted layer that calculates with its kernel on the int8 grid; gradients pass through the rounding.

    Args:
        inner: a built layer, whose own variables are trained.
    """

    def __init__(self, inner: layers.Layer) -> None:
        super().__init__(name=f"{inner.name}_on_grid")
        self.inner = inner

    def call(self, inputs: Tensor) -> Tensor:
        """The output of the layer with its kernel on the grid."""
        inner = self.inner
        trained = [_straight_through(variable, inner) for variable in inner.trainable_variables]
        fixed = [_straight_through(variable, inner) for variable in inner.non_trainable_variables]  # of a frozen layer
        outputs, _ = inner.stateless_call(trained, fixed, inputs)
        return outputs


class FakeInt8(layers.Layer):
    """Rounds a tensor as int8 would hold it; gradients pass through.

    Args:
        bounds: (smallest, largest) value that int8 covers; None takes those of each batch.
    """

    def __init__(self, bounds: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.bounds = bounds

    def call(self, inputs: Tensor) -> Tensor:
        """The rounded tensor."""
        if self.bounds is not None:
            return keras.quantizers.fake_quant_with_min_max_vars(inputs, *self.bounds, num_bits=8)
        # TensorFlow cannot round nothing.
        return ops.cond(ops.size(inputs) > 0, lambda: _rounded_in_its_range(inputs), lambda: inputs)


def _rounded_in_its_range(values: Tensor) -> Tensor:
    seen = ops.stop_gradient(values)
    # int8 must hold zero exactly; all may be zero.
    lowest, highest = ops.minimum(ops.min(seen), 0.0), ops.maximum(ops.max(seen), _LEAST_RANGE)
    return keras.quantizers.fake_quant_with_min_max_vars(values, lowest, highest, num_bits=8)


class Logit(OnGrid):
    """A last dense layer of one unit with its kernel on the int8 grid, without its sigmoid."""

    def call(self, inputs: Tensor) -> Tensor:
        """(b, 1), logits."""
        inner = self.inner
        logits = ops.matmul(inputs, _straight_through(inner.kernel, inner))
        return logits if inner.bias is None else logits + inner.bias


def on_grid(kernel: Tensor, layer: layers.Layer) -> Tensor:
    """The nearest kernel whose output channels are integers of -127 to 127 times one scale each."""
    grey = _reads_grey(layer)
    # A grey image in three equal channels meets the sum of a kernel over them: that is what export deploys.
    target = ops.sum(kernel, axis=-2, keepdims=True) if grey else kernel
    axes = (0, 1) if isinstance(layer, layers.DepthwiseConv2D) else tuple(range(len(kernel.shape) - 1))
    rounded = round_to_grid(target, weight_scale(target, axes, ops), maths=ops)
    return kernel + (rounded - target) / kernel.shape[-2] if grey else rounded


def put_on_grid(model: keras.Model) -> None:
    """Moves the kernel of every weighted layer to the int8 grid, in place."""
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel, *rest = layer.get_weights()
            layer.set_weights([np.asarray(on_grid(ops.convert_to_tensor(kernel), layer)), *rest])


def lies_on_grid(model: keras.Model) -> bool:
    """Whether the kernel of every weighted layer lies on the int8 grid already, but for float32 rounding."""
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel = np.asarray(layer.kernel)
            distance = np.abs(np.asarray(on_grid(ops.convert_to_tensor(kernel), layer)) - kernel)
            if distance.max() > _GRID_TOLERANCE * np.abs(kernel).max():
                return False
    return True


def with_kernels_on_grid(model: keras.Model) -> keras.Model:
    """The network calculating with its kernels on the int8 grid. Both share their variables."""

    def make(layer: layers.Layer, inputs: Inputs) -> Tensor:
        return call(OnGrid(layer) if isinstance(layer, WEIGHTED) else layer, inputs)

    output = run_layers(model, model.inputs[0], model.inputs[0], make)
    return keras.Model(model.inputs[0], output, name=f"{model.name}_on_grid")


def _straight_through(variable: keras.Variable, layer: layers.Layer) -> Tensor:
    if variable is not layer.kernel:
        return variable
    value = ops.convert_to_tensor(variable)
    return value + ops.stop_gradient(on_grid(value, layer) - value)


def _reads_grey(layer: layers.Layer) -> bool:
    """Whether a layer is the first convolution, below which there is nothing but the image, scaled or padded."""
    read = layers_below(layer)
    while read and isinstance(read[0], (layers.Rescaling, layers.ZeroPadding2D)):
        read = layers_below(read[0])
    is_image = bool(read) and isinstance(read[0], layers.InputLayer) and len(read[0].output.shape) == 4
    return is_image and isinstance(layer, layers.Conv2D)
