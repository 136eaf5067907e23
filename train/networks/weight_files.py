"""What a backbone starts from: weights of a file that a user gives."""

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
