"""What the frozen part of a network makes of each image, computed once and kept on disk.

TensorFlow runs MobileNetV2 at 31 images a second on two cores, LiteRT the same float network at several times that.
The frozen layers see each image in a few augmented draws, so that the layers above learn from changed images too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FeatureArrays:
    """Memory-mapped features; rows in the order of the images they were made from."""

    seam: NDArray[np.float16]  # (n, h, w, c): output of the last frozen layer
    pooled: NDArray[np.float32]  # (n, d): pooled output of the whole backbone before fine-tuning


class FrozenPart:
    """The layers below a seam, and the pooled features above it, through LiteRT on every core.

    Args:
        seam: float network (b, S, S, 3) -> output of the last frozen layer.
        pooled: float network (b, S, S, 3) -> pooled features.
    """

    def __init__(self, seam: keras.Model, pooled: keras.Model) -> None:
        both = keras.Model(seam.input, {"seam": seam.output, "pooled": pooled.output})
        self.seam_shape = tuple(seam.output.shape[1:])
        self.pooled_shape = tuple(pooled.output.shape[1:])
        # The interpreters read the weights out of these bytes and do not keep them alive.
        self._content = _convert(both)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        self._interpreters: list[Interpreter] = []
        self._workers = os.cpu_count() or 1
        with quiet_native_stderr():  # announces its delegate at every start
            for _ in range(self._workers):
                # A runner does not keep its interpreter alive.
                self._interpreters.append(Interpreter(model_content=self._content, num_threads=1))
                self._idle.put(self._interpreters[-1].get_signature_runner())

    def fill(self, batches: tf.data.Dataset, into: FeatureArrays, start: int, advance: Callable[[int], None]) -> int:
        """Writes the features of every image of the batches from row `start` on; the row behind the last."""
        with ThreadPoolExecutor(self._workers) as pool:
            for batch in batches.as_numpy_iterator():
                for offset, (seam, pooled) in enumerate(pool.map(self._run, batch)):
                    into.seam[start + offset], into.pooled[start + offset] = seam, pooled
                start += len(batch)
                advance(start)
        return start

    def _run(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        runner = self._idle.get()
        try:
            outputs = runner(**{_INPUT: image[np.newaxis]})
            return outputs["seam"][0], outputs["pooled"][0]
        finally:
            self._idle.put(runner)


def create_feature_arrays(folder: Path, part: FrozenPart, count: int) -> FeatureArrays:
    """Arrays for `count` images, on disk in a folder, to be filled."""
    folder.mkdir(parents=True, exist_ok=True)
    # float16 halves the file; its error (2^-11 of the value) is far below what augmentation changes.
    seam = np.lib.format.open_memmap(folder / "seam.npy", "w+", np.float16, (count, *part.seam_shape))
    pooled = np.lib.format.open_memmap(folder / "pooled.npy", "w+", np.float32, (count, *part.pooled_shape))
    return FeatureArrays(seam, pooled)


def open_feature_arrays(folder: Path) -> FeatureArrays:
    """The arrays that a folder holds, read-only."""
    return FeatureArrays(np.load(folder / "seam.npy", mmap_mode="r"), np.load(folder / "pooled.npy", mmap_mode="r"))


def _convert(model: keras.Model) -> bytes:
    """A float .tflite of batch size 1."""
    signature = keras.InputSpec(shape=(1, *model.input.shape[1:]), dtype="float32", name=_INPUT)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False, input_signature=[signature])
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
