"""What the frozen part of a network makes of each image, in float and as int8 would, computed once and kept on disk.

TensorFlow runs MobileNetV2 at 31 images a second on two cores, LiteRT the same float network at several times that.
The frozen layers see each image in a few augmented draws, so that the layers above learn from changed images too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
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


Features = dict[str, NDArray[np.floating]]  # memory-mapped arrays by name, rows in the order of the images


class FrozenPart:
    """Tensors of a network whose layers no longer change, through LiteRT on every core.

    Args:
        image: the network's input, symbolic, (b, S, S, 3).
        tensors: symbolic, by the name of the feature.
    """

    def __init__(self, image: Any, tensors: dict[str, Any]) -> None:
        self.shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        # The interpreters read the weights out of these bytes and do not keep them alive.
        self._content = _convert(keras.Model(image, tensors))
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._interpreters: list[Interpreter] = []
        self._workers = os.cpu_count() or 1
        with quiet_native_stderr():  # announces its delegate at every start
            for _ in range(self._workers):
                # A runner does not keep its interpreter alive.
                self._interpreters.append(Interpreter(model_content=self._content, num_threads=1))
                self._idle.put(self._interpreters[-1].get_signature_runner())

    def fill(self, batches: tf.data.Dataset, into: Features, start: int, advance: Callable[[int], None]) -> int:
        """Writes the features of every image of the batches from row `start` on; the row behind the last."""
        with ThreadPoolExecutor(self._workers) as pool:
            for batch in batches.as_numpy_iterator():
                for offset, outputs in enumerate(pool.map(self._run, batch)):
                    for name, values in outputs.items():
                        into[name][start + offset] = values[0]
                start += len(batch)
                advance(start)
        return start

    def _run(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        runner = self._idle.get()
        try:
            outputs: dict[str, NDArray[np.float32]] = runner(**{_INPUT: image[np.newaxis]})
            return outputs
        finally:
            self._idle.put(runner)


def create_features(folder: Path, part: FrozenPart, count: int) -> Features:
    """Arrays for `count` images, on disk in a folder, to be filled."""
    folder.mkdir(parents=True, exist_ok=True)
    # float16 halves the files; its error (2^-11 of the value) is far below what augmentation changes.
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float16, (count, *shape))
        for name, shape in part.shapes.items()
    }


def open_features(folder: Path) -> Features:
    """The arrays that a folder holds, read-only."""
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}


def _convert(model: keras.Model) -> bytes:
    """A float .tflite of batch size 1."""
    signature = keras.InputSpec(shape=(1, *model.input.shape[1:]), dtype="float32", name=_INPUT)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False, input_signature=[signature])
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
