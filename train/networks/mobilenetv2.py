"""MobileNetV2 with a head for fractures, from ImageNet's weights, a file of them, or random values."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edge_runtime.errors import DataError
from train.networks.heads import with_head
from train.networks.weight_files import load_weights

ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)  # for which Keras has ImageNet weights

_FINE = "block_13_expand_relu"  # the last layer at a sixteenth of the image's side


def build_mobilenetv2(
    size: int = 224, alpha: float = 1.0, weights: str = "imagenet", head: str = "map", dropout: float = 0.2
) -> keras.Model:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with a head for a probability and, with `map`, a heatmap.

    Args:
        size: side of the input, pixels, a multiple of 32.
        alpha: width of the network, one of ALPHAS.
        weights: `imagenet` (downloaded by Keras), `none`, or the path of a file of weights without top.
        head: `map` or `pooled`, see train.networks.heads.
        dropout: fraction of the features dropped in training.

    Raises:
        DataError: the weights cannot be had.
        ModelError: the file of weights does not fit the network.
    """
    image = keras.Input((size, size, 3), name="image")
    # Keras' ImageNet weights expect -1 to 1; the graph does it, so that every file takes 0 to 1.
    rescaled = layers.Rescaling(2.0, offset=-1.0, name="rescale")(image)
    backbone = _backbone(rescaled, alpha, weights)
    return with_head(image, backbone.output, backbone.get_layer(_FINE).output, head, dropout, "mobilenetv2")


def _backbone(image: keras.KerasTensor, alpha: float, weights: str) -> keras.Model:
    arguments = {"input_tensor": image, "alpha": alpha, "include_top": False}
    if weights == "imagenet":
        return _with_imagenet_weights(arguments)
    backbone = keras.applications.MobileNetV2(weights=None, **arguments)
    if weights != "none":
        load_weights(backbone, weights, f"MobileNetV2 of alpha {alpha}")
    return backbone


def _with_imagenet_weights(arguments: dict[str, Any]) -> keras.Model:
    try:
        return keras.applications.MobileNetV2(weights="imagenet", **arguments)
    except Exception as error:  # urllib, socket and Keras each raise their own kind when there is no network
        raise DataError(
            "the ImageNet weights could not be downloaded; fetch them on a machine with a network and give their path: "
            f"--weights PATH (or train from random values: --weights none). The download said: {error}"
        ) from error
