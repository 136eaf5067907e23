"""What the frozen part of a network makes of each image, computed once and kept on disk.

TensorFlow runs MobileNetV2 at 31 images a second on two cores, LiteRT the same float network at several times that.
The frozen layers see each image in a few augmented draws, so that the layers above learn from changed images too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edge_runtime.quiet import quiet_native_stderr

_INPUT = "image"
_WORKERS = os.cpu_count() or 1

Features = dict[
    str, "np.memmap[Any, np.dtype[np.floating]]"
]  # memory-mapped arrays by name, rows in the order of the images


class FrozenPart:
    """Tensors of a network whose layers no longer change, through LiteRT on every core.

    Args:
        image: the network's input, symbolic, (b, S, S, 3).
        tensors: symbolic, by the name of the feature.
        int8: calculate in integers; every tensor on the way is rounded by `FakeInt8`.
    """

    def __init__(self, image: Any, tensors: dict[str, Any], int8: bool = False) -> None:
        self.shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        # The interpreters read the weights out of these bytes and do not keep them alive.
        self._content = _convert(keras.Model(image, tensors), int8)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._interpreters: list[Interpreter] = []
        with quiet_native_stderr():  # announces its delegate at every start
            for _ in range(_WORKERS):
                # A runner does not keep its interpreter alive.
                self._interpreters.append(Interpreter(model_content=self._content, num_threads=1))
                self._idle.put(self._interpreters[-1].get_signature_runner())

    def run(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The tensors of one image, (S, S, 3), by name, each with a batch axis of 1; from several threads at once."""
        runner = self._idle.get()
        try:
            outputs: dict[str, NDArray[np.float32]] = runner(**{_INPUT: image[np.newaxis]})
            return outputs
        finally:
            self._idle.put(runner)


def fill(
    parts: Sequence[tuple[FrozenPart, NDArray[np.bool_]]],
    batches: tf.data.Dataset,
    into: Features,
    beside: str,
    start: int,
    advance: Callable[[int], None],
) -> int:
    """Writes the features of the images of the batches from row `start` on; the row behind the last.

    Args:
        parts: of a network, each with tensors of its own, and of all rows whether anybody reads them; others stay 0.
        batches: (images, what is kept beside their features).
        into: arrays by name.
        beside: name of the array of what is kept.
        start: row.
        advance: called with the row behind the last of each batch.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        for batch, kept in batches.as_numpy_iterator():
            for part, in_use in parts:
                offsets = np.flatnonzero(in_use[start : start + len(batch)])
                for offset, outputs in zip(offsets, pool.map(part.run, batch[offsets]), strict=True):
                    for name, values in outputs.items():
                        into[name][start + offset] = values[0]
            into[beside][start : start + len(kept)] = kept
            start += len(batch)
            advance(start)
    return start


def shapes_of(parts: Iterable[FrozenPart]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by name, without the batch axis."""
    return {name: shape for part in parts for name, shape in part.shapes.items()}


def create_features(folder: Path, shapes: Mapping[str, tuple[int, ...]], count: int) -> Features:
    """Arrays for `count` images, each of these shapes by name, on disk in a folder, to be filled."""
    folder.mkdir(parents=True, exist_ok=True)
    # float16 halves the files; its error (2^-11 of the value) is far below what augmentation changes.
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (count, *shape))
        for name, shape in shapes.items()
    }


def open_features(folder: Path) -> Features:
    """The arrays that a folder holds, read-only."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


def _convert(model: keras.Model, int8: bool) -> bytes:
    """A .tflite of batch size 1; with int8 it calculates in integers wherever the network has bounds for them."""
    signature = keras.InputSpec(shape=(1, *model.input.shape[1:]), dtype="float32", name=_INPUT)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False, input_signature=[signature])
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())
