"""How long one inference takes: our files beside those of other tools, float and int8, interleaved in one run.

    python -m benchmarks.latency RUN [--threads 1 2] [--repetitions 60] [--recipes minmax]
        [--litert-quantizer PYTHON] [--nncf PYTHON]

Every file is made from the calibration images of the run. `plain` is TensorFlow's converter and ONNX Runtime's
quantize_static, on networks with one grey channel as ours, so that time and size compare. LiteRT Quantizer and NNCF:
see `benchmarks.other_quantizers`.

Medians of single inferences, all files in turn; ratios to the float file of the same engine and to the plain int8 file.
Targets: int8 TFLite at most 0.55 x float and 1.05 x the plain converter's; int8 ONNX at most 0.6 x float on a processor
with VNNI and 1.05 x plain; sizes at most 1.05 x plain.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.other_quantizers import add_options, open_session, quantize_elsewhere
from export.exporter import SAMPLE
from export.inputs.image_sets import read_training_images
from export.inputs.opening import open_inputs
from export.quantize.recipes import NAMES, open_recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quiet import quiet_converters
from export.request import ExportRequest


def make_files(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Every file by what made it, the float ones first."""
    from export.convert import model_files, prepared_network

    opened = open_inputs(ExportRequest(options.run, Path(), int8=True))
    calibration, judging = opened.images.calibration, opened.images.judging
    prepared = prepared_network.prepare(prepared_network.load(opened), opened.network.spec, judging.images_u8[:SAMPLE])
    floats = model_files.convert_to_float(prepared.grey, (".tflite", ".onnx"))
    files = {f"float{suffix}": write(folder / f"float{suffix}", content) for suffix, content in floats.items()}
    images = np.stack(list(calibration.inputs()))
    inputs = RecipeInputs(calibration, lambda: read_training_images(opened.network, calibration))
    for name in options.recipes:
        for suffix, content in open_recipe(name).quantize(prepared, (".tflite", ".onnx"), inputs).items():
            files[f"{name}{suffix}"] = write(folder / f"{name}{suffix}", content)
    files["plain.tflite"] = write(folder / "plain.tflite", plain_tflite(prepared.grey, images))
    files["plain.onnx"] = plain_onnx(files["float.onnx"], images, folder / "plain.onnx")
    sources = {suffix: files[f"float{suffix}"] for suffix in floats}
    for _, _, path in quantize_elsewhere(options, sources, images, folder):
        files[path.name] = path
    return files


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def plain_tflite(model: Any, images: NDArray[np.float32]) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def plain_onnx(source: Path, images: NDArray[np.float32], target: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._left, None)
            return None if image is None else {"grey": image}

    quantize_static(str(source), str(target), Reader(), per_channel=True, weight_type=QuantType.QInt8)
    return target


def open_file(path: Path, threads: int) -> Callable[[], Any]:
    """One inference of a file, on an image that is its engine's already."""
    grey = np.random.default_rng(0).integers(0, 128, 4096)  # repeated over the shape that the file asks for
    if path.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        (entry,) = interpreter.get_input_details()
        interpreter.set_tensor(entry["index"], np.resize(grey, entry["shape"]).astype(entry["dtype"]))
        return interpreter.invoke
    session = open_session(path, threads)
    (entry,) = session.get_inputs()
    dtype = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}[entry.type]
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    feed = {entry.name: np.resize(grey, shape).astype(dtype)}
    return lambda: session.run(None, feed)


def measure(files: dict[str, Path], threads: int, repetitions: int) -> dict[str, float]:
    """Median milliseconds of one inference, all files in turn."""
    running = {name: open_file(path, threads) for name, path in files.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(repetitions):
        for name, run in running.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * median(found[repetitions // 10 :]) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder of edge-train")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument("--recipes", nargs="+", default=["minmax"], choices=NAMES)
    add_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        with quiet_converters():
            files = make_files(options, Path(place))
        sizes = {name: path.stat().st_size for name, path in files.items()}
        print("| threads | file | MB | x plain | ms | x float | x plain int8 |\n|---|---|---|---|---|---|---|")
        for threads in options.threads:
            with quiet_converters():
                found = measure(files, threads, options.repetitions)
            for name, milliseconds in found.items():
                suffix = Path(name).suffix
                ratios = (milliseconds / found[f"float{suffix}"], milliseconds / found[f"plain{suffix}"])
                size = f"{sizes[name] / 1e6:.2f} | {sizes[name] / sizes[f'plain{suffix}']:.2f}"
                print(f"| {threads} | {name} | {size} | {milliseconds:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
