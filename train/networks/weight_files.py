"""What a backbone starts from: weights of a file that a user gives, or random values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from edge_runtime.errors import DataError, ModelError
from train.networks.torch_file import read_tensors

_TORCH = ".pth"


def settle_quickly(backbone: keras.Model) -> None:
    """Lets running statistics follow random weights within an epoch; Keras' momenta are made for ImageNet's length."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9


def start_shallow(backbone: keras.Model) -> None:
    """Makes every residual block of random values the identity: the scale of its last normalisation becomes 0.

    The trace of a thin line is lost on the way through many random layers, and whether training ever leaves chance is
    then luck. Source: arXiv:1706.02677. Blocks that do not end with a normalisation are left alone, and so are sums of
    two that read the same: neither is the other's input.
    """
    order = {layer.name: number for number, layer in enumerate(backbone.layers)}
    for layer in backbone.layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        before, last = sorted(_read_by(layer), key=lambda summand: order[summand.name])
        if not _descends(last, before, order):
            continue
        if isinstance(last, keras.layers.Dropout):
            (last,) = _read_by(last)
        if isinstance(last, keras.layers.BatchNormalization) and last.scale:
            last.gamma.assign(keras.ops.zeros_like(last.gamma))


def _descends(layer: keras.layers.Layer, ancestor: keras.layers.Layer, order: Mapping[str, int]) -> bool:
    """Whether a layer reads, directly or not, what another one made, in a network whose layers stand in an order."""
    if order[layer.name] <= order[ancestor.name]:
        return layer is ancestor
    return any(_descends(read, ancestor, order) for read in _read_by(layer))


def _read_by(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers whose outputs a layer reads."""
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(layer.input)]


def load_weights(
    backbone: keras.Model,
    path: str,
    network: str,
    set_tensors: Callable[[keras.Model, Mapping[str, NDArray[Any]]], None] | None = None,
) -> None:
    """Gives a backbone the weights of a file.

    Args:
        backbone: without a head.
        path: of a Keras file, `.weights.h5`, or of PyTorch's tensors, `.pth`, for networks that come so.
        network: its name, for messages.
        set_tensors: gives it tensors by name, ValueError where they do not fit; None: it takes none of PyTorch.

    Raises:
        DataError: there is no such file.
        ModelError: it does not fit the network.
    """
    if not Path(path).is_file():
        raise DataError(f"--weights {path}: no such file; expected `imagenet`, `none` or the path of a file of weights")
    try:
        if set_tensors is not None and Path(path).suffix == _TORCH:
            set_tensors(backbone, read_tensors(Path(path)))
            return
        with warnings.catch_warnings():
            # Keras only warns where layers of a file do not match, and leaves random values in their place.
            warnings.simplefilter("error", UserWarning)
            backbone.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ModelError(f"--weights {path}: does not fit {network}: {error}") from error
