"""Any functional network as one flat graph in float32, in which every layer is used once.

Nested networks are run through in place, a layer used twice becomes two with the same weights, operations become
layers, and whatever acts in training only is left out. Nothing else changes; `proof` holds it to that.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, tree

from edge_runtime.errors import ModelError
from export.inputs.foreign.float_layers import FUNCTIONS
from export.inputs.foreign.layer_names import LayerNames
from export.inputs.foreign.operation_layer import CalledLayer, ChannelSlice, OperationLayer, Slot, is_constant
from export.inputs.foreign.precision import copy_weights, retyped
from train.int8.keras_graph import Call, calls, is_graph

_DTYPE = "float32"
_IDLE = (  # layers that pass their input on in inference
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout"),
    *("AlphaDropout", "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomZoom"),
    *("RandomTranslation", "RandomContrast", "RandomBrightness", "RandomSaturation", "RandomHue", "RandomGrayscale"),
    *("RandomColorJitter", "RandomColorDegeneration", "RandomGaussianBlur", "RandomErasing", "RandomElasticTransform"),
    *("RandomInvert", "RandomPerspective", "RandomPosterization", "RandomSharpness", "RandomShear", "RandAugment"),
    *("AugMix", "MixUp", "CutMix"),
)
IDLE = tuple(getattr(layers, name) for name in _IDLE if hasattr(layers, name))
# They are called with training=True by default too, whatever they do to images.
_OF_IMAGES = tuple(
    getattr(layers, name)
    for name in ("Resizing", "CenterCrop", "RandomCrop", "AutoContrast", "Equalization", "Solarization")
    if hasattr(layers, name)
)
_NOISE = (layers.Dropout, layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout)
# Operations that have a layer of their own, which recipes know: by class name, with a function that makes it.
_ACTIVATIONS = {
    **{"Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "HardSigmoid": "hard_sigmoid"},
    **{"HardSilu": "hard_silu", "Tanh": "tanh", "Softplus": "softplus", "Selu": "selu", "LogSoftmax": "log_softmax"},
}
_MERGES = {"Add": layers.Add, "Multiply": layers.Multiply, "Subtract": layers.Subtract, "Maximum": layers.Maximum}
_SPATIAL = (1, 2)  # axes of images


def flattened(model: keras.Model, side: int | None = None) -> keras.Model:
    """The network as one flat graph in float32, with the outputs of the original.

    Args:
        model: functional or sequential.
        side: of its image, pixels, where it takes any.

    Raises:
        ModelError: it has a part that is no graph, several inputs, or one that acts as in training.
    """
    if not is_graph(model):
        raise ModelError(f"{model.name}: a subclassed network; its structure is Python code, not a graph")
    if len(model.inputs) != 1:
        names = ", ".join(tensor.name for tensor in model.inputs)
        raise ModelError(f"{model.name}: {len(model.inputs)} inputs ({names}); one image was expected")
    *sides, channels = model.inputs[0].shape[1:]
    start = keras.Input((*(one or side for one in sides), channels), name="image", dtype=_DTYPE)
    outputs = _Flattening().run(model, [start])
    return keras.Model(start, outputs, name=model.name)


class _Flattening:
    """One flattening: remembers which names are taken."""

    def __init__(self) -> None:
        self._names = LayerNames("image")

    def run(self, model: Any, inputs: list[Any]) -> list[Any]:
        """The outputs of a network, or of one nested in it, over these tensors."""
        tensors: dict[int, Any] = {id(entry): given for entry, given in zip(model.inputs, inputs, strict=True)}
        for call in calls(model):
            args, kwargs = call.arguments(tensors)
            outputs = tree.flatten(self._make(call, args, kwargs))
            tensors.update((id(tensor), made) for tensor, made in zip(call.outputs, outputs, strict=False))
        return [tensors[id(tensor)] for tensor in model.outputs]

    def _make(self, call: Call, args: Any, kwargs: dict[str, Any]) -> Any:
        operation = call.operation
        augments = isinstance(operation, (*IDLE, *_OF_IMAGES)) and not isinstance(operation, _NOISE)
        # Layers of augmentation are called with training=True by default, and still pass images on in inference.
        if kwargs.pop("training", None) and not augments:
            raise ModelError(
                f"layer {operation.name!r} is called with training=True: it answers the same image differently from "
                "time to time; call it without, and save the network again"
            )
        kwargs = {name: value for name, value in kwargs.items() if name != "mask" or value is not None}
        if isinstance(operation, keras.Model):
            if not is_graph(operation):
                raise ModelError(f"{operation.name!r} inside the network is subclassed: Python code, not a graph")
            return self.run(operation, tree.flatten((args, kwargs)))
        if isinstance(operation, IDLE) or type(operation).__name__ == "Cast":
            return args[0]
        if isinstance(operation, layers.Layer):
            return self._layer(operation, args, kwargs)
        return self._operation(operation, args, kwargs, len(call.outputs))

    def _layer(self, layer: layers.Layer, args: Any, kwargs: dict[str, Any]) -> Any:
        if isinstance(layer, layers.SeparableConv2D):
            return self._separable(layer, args[0])
        if type(layer) is layers.Conv2D and layer.groups > 1:
            return self._grouped(layer, args[0])
        if type(layer) is layers.Dense and len(args[0].shape) == 4:
            return self._of_pixels(layer, args[0])
        if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "nearest":
            # Keras repeats rows and columns, which int8 has no operator for; the nearest pixel is the same one.
            _, *sides, _ = args[0].shape
            larger = [side * times for side, times in zip(sides, layer.size, strict=True)]
            return self._new(layers.Resizing, layer.name, *larger, interpolation="nearest")(args[0])
        if isinstance(layer, layers.RandomCrop):  # in inference it crops the middle
            return self._new(layers.CenterCrop, layer.name, layer.height, layer.width)(args[0])
        if sum(map(len, map(_symbols, (*args, *kwargs.values())))) > 1 and len(args) + len(kwargs) > 1:
            return self._called(layer, args, kwargs)
        if isinstance(layer, layers.Normalization):
            scaling = _normalising(layer)
            if scaling is not None:
                return self._new(layers.Rescaling, layer.name, **scaling)(args[0])
        config = retyped(layer.get_config(), _DTYPE)
        apart = getattr(getattr(layer, "activation", None), "__name__", "")
        if apart in FUNCTIONS and not isinstance(layer, layers.Activation):  # it may stay float, and its layer need not
            config["activation"] = "linear"
        copy = type(layer).from_config({**config, "name": self._names.free(layer.name)})
        outputs = copy(*args, **kwargs)
        copy_weights(layer, copy)
        if config.get("activation") == "linear" and apart in FUNCTIONS:
            return self._new(layers.Activation, f"{layer.name}_{apart}", apart)(outputs)
        return outputs

    def _called(self, layer: layers.Layer, args: Any, kwargs: dict[str, Any]) -> Any:
        """A layer that reads several arguments, each of which may be a tensor, wrapped as one that reads a list."""
        inner = type(layer).from_config(retyped(layer.get_config(), _DTYPE))
        tensors = _symbols((args, kwargs))
        outputs = self._new(CalledLayer, layer.name, inner, _template(args, kwargs, tensors))(tensors)
        copy_weights(layer, inner)
        return outputs

    def _grouped(self, layer: layers.Conv2D, images: Any) -> Any:
        """A convolution of groups of channels: as a depthwise one, or as one convolution for each group, joined.

        Keras compiles it in a way that no converter to `.onnx` reads.
        """
        kernel, *bias = layer.get_weights()
        channels, per_group = images.shape[-1], kernel.shape[2]
        shared = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
        if per_group == 1:
            depth = layer.filters // channels
            settings = {**shared, "depth_multiplier": depth}
            weights = [kernel.reshape(*kernel.shape[:2], channels, depth), *bias]
            return self._like(layer, layers.DepthwiseConv2D, (layer.kernel_size,), settings, images, weights)
        filters, parts = layer.filters // layer.groups, []
        for group in range(layer.groups):
            chosen = slice(group * filters, (group + 1) * filters)
            first = group * per_group
            some = self._new(ChannelSlice, f"{layer.name}_channels", first, first + per_group)(images)
            part = self._new(layers.Conv2D, layer.name, filters, layer.kernel_size, **shared, use_bias=layer.use_bias)
            parts.append(part(some))
            part.set_weights([kernel[..., chosen], *(values[chosen] for values in bias)])
        joined = self._new(layers.Concatenate, f"{layer.name}_groups")(parts)
        if layer.activation is keras.activations.linear:
            return joined
        activation = keras.activations.serialize(layer.activation)
        return self._new(layers.Activation, f"{layer.name}_activation", activation)(joined)

    def _of_pixels(self, layer: layers.Dense, images: Any) -> Any:
        """A dense layer over the channels of each pixel, as the convolution that it is."""
        kernel, *bias = layer.get_weights()
        return self._like(layer, layers.Conv2D, (layer.units, 1), {}, images, [kernel[np.newaxis, np.newaxis], *bias])

    def _separable(self, layer: layers.SeparableConv2D, images: Any) -> Any:
        """Both halves of a separable convolution as layers of their own."""
        depthwise, pointwise, *bias = layer.get_weights()
        shared = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
        first = self._new(
            *(layers.DepthwiseConv2D, f"{layer.name}_depthwise", layer.kernel_size),
            **{**shared, "depth_multiplier": layer.depth_multiplier, "use_bias": False},
        )
        outputs = first(images)
        first.set_weights([depthwise])
        return self._like(layer, layers.Conv2D, (layer.filters, 1), {}, outputs, [pointwise, *bias])

    def _like(
        self, layer: Any, kind: Any, arguments: tuple[Any, ...], settings: dict[str, Any], images: Any, weights: Any
    ) -> Any:
        """A layer of another kind with the activation of this one, which is apart where it may stay float."""
        function = getattr(layer.activation, "__name__", "")
        apart = function in FUNCTIONS
        activation = "linear" if apart else keras.activations.serialize(layer.activation)
        settings = {**settings, "use_bias": layer.use_bias, "activation": activation}
        new = self._new(kind, layer.name, *arguments, **settings)
        outputs = new(images)
        new.set_weights(weights)
        return self._new(layers.Activation, f"{layer.name}_{function}", function)(outputs) if apart else outputs

    def _operation(self, operation: Any, args: Any, kwargs: dict[str, Any], outputs: int) -> Any:
        """An operation between layers: as the layer that does the same, or in a wrapping."""
        kind, tensors = type(operation).__name__, _symbols((args, kwargs))
        if len(tensors) == 1 and kind in _ACTIVATIONS:
            return self._new(layers.Activation, operation.name, _ACTIVATIONS[kind])(tensors[0])
        if len(tensors) == 1 and kind == "Softmax":
            return self._new(layers.Softmax, operation.name, axis=operation.axis)(tensors[0])
        if len(tensors) == 1 and kind == "Mean" and _axes(operation, tensors[0]) == _SPATIAL:
            return self._new(layers.GlobalAveragePooling2D, operation.name, keepdims=operation.keepdims)(tensors[0])
        if len(tensors) == 1:
            scaling = _scaling(kind, args, tensors[0])
            if scaling is not None:
                return self._new(layers.Rescaling, operation.name, **scaling)(tensors[0])
        if kind in _MERGES and len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
            return self._new(_MERGES[kind], operation.name)(tensors)
        if kind == "Concatenate":
            return self._new(layers.Concatenate, operation.name, axis=operation.axis)(tensors)
        template, read = _template(args, kwargs, tensors), tensors if len(tensors) > 1 else tensors[0]
        # A layer for each output: whoever walks a flat graph can count on one.
        return [self._new(OperationLayer, operation.name, operation, template, one)(read) for one in range(outputs)]

    def _new(self, kind: Any, name: str, *arguments: Any, **options: Any) -> Any:
        return kind(*arguments, **options, name=self._names.free(name), dtype=_DTYPE)


def _template(args: Any, kwargs: dict[str, Any], tensors: list[Any]) -> Any:
    """The arguments of a call, a Slot in place of each tensor."""
    slots = {id(tensor): Slot(index) for index, tensor in enumerate(tensors)}
    return tree.map_structure(
        lambda value: slots[id(value)] if isinstance(value, keras.KerasTensor) else value, (args, kwargs)
    )


def _symbols(arguments: Any) -> list[Any]:
    """The tensors among the arguments of a call, each once."""
    found = {id(value): value for value in tree.flatten(arguments) if isinstance(value, keras.KerasTensor)}
    return list(found.values())


def _axes(operation: Any, tensor: Any) -> tuple[int, ...]:
    axes = tree.flatten(operation.axis)
    if len(tensor.shape) != 4 or any(axis is None for axis in axes):
        return ()
    return tuple(sorted(axis % 4 for axis in axes))


def _scaling(kind: str, args: Any, tensor: Any) -> dict[str, Any] | None:
    """`x + c`, `c - x`, `x * c`, `x / c`, `-x` as factor and offset; None where it is anything else."""
    if kind == "Negative":
        return {"scale": -1.0, "offset": 0.0}
    if kind not in ("Add", "Subtract", "Multiply", "Divide", "TrueDivide") or len(args) != 2:
        return None
    tensor_first = isinstance(args[0], keras.KerasTensor)
    constant = _plain(args[1] if tensor_first else args[0], tensor.shape[-1])
    if constant is None or (kind.endswith("Divide") and not tensor_first):
        return None
    if kind == "Add":
        return {"scale": 1.0, "offset": constant}
    if kind == "Subtract":
        return {"scale": 1.0, "offset": _negative(constant)} if tensor_first else {"scale": -1.0, "offset": constant}
    if kind == "Multiply":
        return {"scale": constant, "offset": 0.0}
    return {"scale": (1.0 / np.asarray(constant)).tolist(), "offset": 0.0}


def _plain(constant: Any, channels: int) -> float | list[float] | None:
    """A constant as a number, or as a list of one for each channel; None where it has another shape."""
    if not (isinstance(constant, (int, float)) or is_constant(constant)):
        return None
    values = np.asarray(constant, np.float64)
    if values.size == 1:
        return float(values.ravel()[0])
    return values.ravel().tolist() if values.size == channels == values.shape[-1] else None


def _negative(constant: float | list[float]) -> Any:
    return (-np.asarray(constant)).tolist()


def _normalising(layer: layers.Normalization) -> dict[str, Any] | None:
    """Normalisation as factor and offset of each channel; None along other axes."""
    rank = len(layer.input.shape)
    if tuple(axis % rank for axis in layer.axis) not in ((), (rank - 1,)):
        return None
    if layer.input_mean is not None:
        mean, variance = layer.input_mean, layer.input_variance
    else:
        mean, variance = layer.adapt_mean, layer.adapt_variance
    mean, variance = (np.asarray(values, np.float64) for values in (mean, variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    factor, offset = (deviation, mean) if layer.invert else (1.0 / deviation, -mean / deviation)
    return {"scale": factor.tolist(), "offset": offset.tolist()}
