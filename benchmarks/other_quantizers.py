"""LiteRT Quantizer and NNCF, which make int8 files from our float ones, and how files without a spec of ours are asked.

LiteRT Quantizer (which ai-edge-quantizer has become) and NNCF run in environments of their own, given by their Python
(`pip install litert-quantizer`, `pip install nncf onnx`).
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.engines.onnx_runtime import _read_processor, needs_precision
from export.parity.engine_answers import Answers

# Each reads a float file, images.npy (n, 1, S, S, 1), 0 to 1, and writes a target; it runs in the other tool's Python.
_LITERT_QUANTIZER = """
import sys, numpy as np
try:
    from litert_quantizer import quantizer, recipe
except ImportError:
    from ai_edge_quantizer import quantizer, recipe
source, images, target = sys.argv[1:]
tool = quantizer.Quantizer(source)
tool.load_quantization_recipe(recipe.static_wi8_ai8())
data = {"serving_default": [{"grey": image} for image in np.load(images)]}
tool.quantize(tool.calibrate(data)).export_model(target, overwrite=True)
"""
_NNCF = """
import sys, numpy as np, onnx, nncf
source, images, target = sys.argv[1:]
dataset = nncf.Dataset([{"grey": image} for image in np.load(images)])
onnx.save(nncf.quantize(onnx.load(source), dataset, subset_size=len(np.load(images))), target)
"""
_TOOLS = {"litert_quantizer": (_LITERT_QUANTIZER, ".tflite"), "nncf": (_NNCF, ".onnx")}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that name the other tools' Pythons."""
    parser.add_argument("--litert-quantizer", metavar="PYTHON", help="of an environment with litert-quantizer")
    parser.add_argument("--nncf", metavar="PYTHON", help="of an environment with nncf, onnx and onnxruntime")


def quantize_elsewhere(
    options: argparse.Namespace, floats: dict[str, Path], images: Iterable[NDArray[np.float32]], folder: Path
) -> Iterator[tuple[str, float, Path]]:
    """(tool, seconds, int8 file) of each tool that the options name, from our float files by suffix.

    Args:
        options: those of `add_options`.
        floats: float files of a network with input `grey`, by suffix.
        images: calibration inputs, each (1, S, S, 1), 0 to 1; read where a tool is named.
        folder: receives the files.
    """
    named = {name: python for name in _TOOLS if (python := getattr(options, name)) is not None}
    calibration = folder / "images.npy"
    if named:
        np.save(calibration, np.stack(list(images)))
    for name, python in named.items():
        script, suffix = _TOOLS[name]
        title = name.replace("_", "-")
        target = folder / f"{title}{suffix}"
        start = time.perf_counter()
        arguments = map(str, (floats[suffix], calibration, target))
        subprocess.run([python, "-c", script, *arguments], check=True, stdout=subprocess.DEVNULL)
        yield title, time.perf_counter() - start, target


def open_session(path: Path, threads: int) -> Any:
    """An ONNX Runtime session, with the precision that our engine asks for on this processor."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = threads, 3
    if needs_precision(_read_processor())[0]:
        settings.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def ask_file(path: Path, images: Iterable[NDArray[np.float32]]) -> Answers:
    """The answers of any tool's file, which knows no spec of ours, to images (1, S, S, c), 0 to 1."""
    import ai_edge_litert
    import onnxruntime

    if path.suffix == ".tflite":
        return _timed("litert", ai_edge_litert.__version__, _open_tflite(path), images)
    session = open_session(path, 1)
    (entry,) = session.get_inputs()
    run = lambda image: _probability(session.run(None, {entry.name: image}))  # noqa: E731
    return _timed("onnxruntime", onnxruntime.__version__, run, images)


def _open_tflite(path: Path) -> Callable[[NDArray[np.float32]], float]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: NDArray[np.float32]) -> float:
        scale, zero_point = entry["quantization"]
        if entry["dtype"] != np.float32:
            limits = np.iinfo(entry["dtype"])
            image = np.clip(np.round(image / scale) + zero_point, limits.min, limits.max).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], image)
        interpreter.invoke()
        return _probability([_as_float(interpreter.get_tensor(one["index"]), one) for one in outputs])

    return run


def _as_float(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero_point = details["quantization"]
    return (values.astype(np.float32) - zero_point) * scale if scale else values


def _probability(outputs: list[NDArray[Any]]) -> float:
    """The output of one number: a network may tell where it looked as well."""
    (value,) = (output for output in outputs if output.size == 1)
    return float(value.item())


def _timed(engine: str, version: str, run: Callable[[Any], float], images: Iterable[NDArray[np.float32]]) -> Answers:
    probabilities, seconds = [], []
    for image in images:
        start = time.perf_counter()
        answer = run(image)
        seconds.append(time.perf_counter() - start)
        probabilities.append(answer)
    return Answers(engine, version, np.array(probabilities, np.float32), float(np.median(seconds) * 1e3))
