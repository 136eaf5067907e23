"""The answers of one engine to many images: in this process, or in that of another Python.

tflite-runtime needs Python 3.11 and numpy below 2, which the rest of the repository does not share; its answers come
from an interpreter of its own, running the same `edge_runtime` that a device runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import edge_runtime
from edge_runtime.engines import AUTO, open_engine
from edge_runtime.errors import DependencyError
from edge_runtime.spec import ModelSpec

_OUTPUT = "probability"

# Runs in the other Python: the arguments are the model file, the engine, the images and where the answers go.
_ELSEWHERE = """
import json, sys, time
from pathlib import Path
import numpy as np
from edge_runtime.embedded_spec import read_embedded_spec
from edge_runtime.engines import open_engine
path, name, images, out = Path(sys.argv[1]), *sys.argv[2:5]
engine = open_engine(path, read_embedded_spec(path).spec, name)
probabilities, seconds = [], []
for image in np.load(images, mmap_mode="r"):
    start = time.perf_counter()
    answer = engine.run(image)["probability"].item()
    seconds.append(time.perf_counter() - start)
    probabilities.append(answer)
json.dump({"version": engine.version, "probabilities": probabilities, "seconds": seconds}, open(out, "w"))
"""


@dataclass(frozen=True)
class Answers:
    """What one engine said to N images."""

    engine: str  # its name
    version: str  # of its package
    probabilities: NDArray[np.float32]  # (N,)
    milliseconds: float  # median of one inference, without decoding and resizing


def ask(
    path: Path, spec: ModelSpec, images_u8: NDArray[np.uint8], engine: str = AUTO, threads: int | None = None
) -> Answers:
    """The answers of an engine in this process.

    Args:
        path: `.tflite` or `.onnx` file.
        spec: with the tensors of this file.
        images_u8: (N, S, S).
        engine: of edge_runtime.engines.NAMES, or `auto`.
        threads: as in `open_engine`.
    """
    opened = open_engine(path, spec, engine, threads)
    probabilities, seconds = np.empty(len(images_u8), np.float32), np.empty(len(images_u8))
    for row, image_u8 in enumerate(images_u8):
        start = time.perf_counter()
        outputs = opened.run(image_u8)
        seconds[row] = time.perf_counter() - start
        probabilities[row] = outputs[_OUTPUT]
    return Answers(opened.name, opened.version, probabilities, float(np.median(seconds) * 1e3))


def ask_elsewhere(path: Path, images_u8: NDArray[np.uint8], engine: str, python: Path) -> Answers:
    """The answers of an engine that another Python has, to a file that carries its spec.

    Raises:
        DependencyError: that Python cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The package alone: the folder around it may be full of packages for this Python.
        Path(folder, "edge_runtime").symlink_to(Path(edge_runtime.__file__).parent)
        images, out = Path(folder, "images.npy"), Path(folder, "answers.json")
        np.save(images, images_u8)
        done = subprocess.run(
            [python.absolute(), "-c", _ELSEWHERE, path.resolve(), engine, images, out],
            env=os.environ | {"PYTHONPATH": folder},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DependencyError(f"{python} cannot run {engine}: {reason}")
        found = json.loads(out.read_text())
    probabilities = np.array(found["probabilities"], np.float32)
    return Answers(engine, found["version"], probabilities, float(np.median(found["seconds"]) * 1e3))
