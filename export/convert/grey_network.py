"""The network as it is deployed: one grey channel in, named outputs, batch 1, nothing of training left.

A grey image repeated over three channels meets a first convolution whose kernel is linear in them: summing the kernel
over its input channels gives the same answer from one channel, with a third of the input.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.quantization import grey_to_float
from export.convert.ends import HEATMAP, INPUT, OUTPUT
from export.inputs.foreign.precision import retyped

# Summing a kernel's channels in float32 rounds each weight once more; a difference far above that means that the layers
# before the first convolution treat channels differently. Compared in float64, where nothing else differs.
FOLDING_TOLERANCE = 1e-5

_BATCH_SIZE = 8  # images: a few at a time keep float64 within memory, and are as fast
_KERNEL_INPUT_AXIS = 2  # of a convolution's kernel (height, width, input, output)

_ANSWER_FUNCTIONS: WeakKeyDictionary[keras.Model, Any] = WeakKeyDictionary()  # gone with the network


def load_network(path: Path, size: int) -> keras.Model:
    """The trained network of a `.keras` file, on the CPU, where every deployed file runs too.

    Raises:
        ModelError: it cannot be loaded, or its input or output is not that of the contract.
    """
    tf.config.set_visible_devices([], "GPU")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its readers do: zipfile's, h5py's, json's, its own
        raise ModelError(f"{path}: cannot be loaded as a Keras network: {error}") from error
    entry, answer, *maps = (tuple(tensor.shape) for tensor in (*model.inputs, *model.outputs))
    is_map = not maps or (len(maps) == 1 and len(maps[0]) == len(entry) and maps[0][-1] == 1)
    if entry not in ((None, size, size, 3), (None, size, size, 1)) or answer != (None, 1) or not is_map:
        shapes = [entry, answer, *maps]
        expected = f"input ({size}, {size}, 3) and output (1,), or a heatmap of one channel behind it,"
        raise ModelError(f"{path}: {expected} were expected, as its spec says, not {shapes}")
    return model


def float_probabilities(model: keras.Model, images_u8: NDArray[np.uint8]) -> NDArray[np.floating]:
    """(N,), the network's answer to grey uint8 (N, S, S) images: what every deployed file is held to."""
    answer, entry = _answer_function(model), model.inputs[0]
    batches = []
    for start in range(0, len(images_u8), _BATCH_SIZE):
        grey = grey_to_float(images_u8[start : start + _BATCH_SIZE])[..., np.newaxis].astype(entry.dtype)
        batches.append(np.asarray(answer(np.repeat(grey, entry.shape[-1], axis=-1)))[:, 0])
    return np.concatenate(batches)


def _answer_function(model: keras.Model) -> Any:
    """The first output of a network for a batch, however large: traced once, for a trace takes longer than a batch."""
    if model not in _ANSWER_FUNCTIONS:
        answering = keras.Model(model.inputs, model.outputs[0])
        batch = tf.TensorSpec((None, *model.inputs[0].shape[1:]), model.inputs[0].dtype)
        _ANSWER_FUNCTIONS[model] = tf.function(
            lambda images: answering(images, training=False), input_signature=[batch]
        )
    return _ANSWER_FUNCTIONS[model]


def as_input(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, S, S, 1), 0 to 1: grey images (n, S, S) as a network with input `grey` takes them."""
    return grey_to_float(images_u8)[..., np.newaxis]


def in_float64(model: keras.Model) -> keras.Model:
    """The same network and weights, calculated in float64."""
    shape = model.inputs[0].shape[1:]
    exact = keras.models.clone_model(
        model,
        input_tensors=keras.Input(shape, dtype="float64"),
        clone_function=lambda layer: type(layer).from_config(
            retyped({**layer.get_config(), "dtype": "float64"}, "float64")
        ),
    )
    for trained, layer in zip(model.layers, exact.layers, strict=True):
        layer.set_weights(trained.get_weights())
    return exact


def with_grey_input(model: keras.Model, images_u8: NDArray[np.uint8]) -> keras.Model:
    """The network with input `grey`, float32 (N, S, S, 1), 0 to 1, giving the same answers.

    Args:
        model: takes (N, S, S, 3) or (N, S, S, 1).
        images_u8: uint8 (N, S, S), on which the answers are compared.
    """
    _, height, width, _ = model.inputs[0].shape
    grey = keras.Input((height, width, 1), name=INPUT)
    try:
        folded = _fold_channels(model, grey)
        difference = _largest_difference(in_float64(model), in_float64(folded), images_u8)
    except (ValueError, tf.errors.InvalidArgumentError):  # layers that fix their number of channels
        difference = np.inf
    if difference <= FOLDING_TOLERANCE:
        return folded
    return keras.Model(grey, model(layers.Concatenate(name="repeat")([grey] * 3)), name=model.name)


def deployed_function(model: keras.Model) -> Any:
    """A tf.function from `grey` (1, S, S, 1) to a dict of named outputs, in inference mode."""
    _, height, width, channels = model.inputs[0].shape
    signature = [tf.TensorSpec((1, height, width, channels), tf.float32, name=INPUT)]
    # Named, for Keras would number it, and the number would stand in every file.
    named = keras.Model(model.inputs, dict(zip((OUTPUT, HEATMAP), model.outputs, strict=False)), name=model.name)
    return tf.function(lambda grey: named(grey, training=False), input_signature=signature)


@contextmanager
def graphs_freed() -> Iterator[None]:
    """Frees what a conversion leaves behind; decorates a function, so that its own variables are gone by then.

    Frozen graphs refer to themselves and hold every weight several times over: of the CNN of 23.9 M parameters 2 to 3
    GB a conversion, until the garbage collector happens to run.
    """
    try:
        yield
    finally:
        gc.collect()


def _largest_difference(one: keras.Model, other: keras.Model, images_u8: NDArray[np.uint8]) -> float:
    return float(np.abs(float_probabilities(one, images_u8) - float_probabilities(other, images_u8)).max())


def _fold_channels(model: keras.Model, grey: keras.KerasTensor) -> keras.Model:
    """The same layers over one channel, the first convolution's kernel summed.

    Raises:
        ValueError: the layers do not allow it.
    """
    folded = keras.models.clone_model(model, input_tensors=grey)
    for trained, layer in zip(model.layers, folded.layers, strict=True):
        pairs = zip(trained.get_weights(), layer.get_weights(), strict=True)
        layer.set_weights([_fold(weights, place.shape) for weights, place in pairs])
    return folded


def _fold(weights: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if weights.shape == shape:
        return weights
    if weights.ndim == 4 and shape[_KERNEL_INPUT_AXIS] == 1:
        return np.asarray(weights.sum(axis=_KERNEL_INPUT_AXIS, keepdims=True))
    raise ValueError(f"weights of shape {weights.shape} do not fold to {shape}")
