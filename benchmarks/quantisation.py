"""Every recipe beside the plain converters, as a user would otherwise call them: how far is int8 from the network?

    python -m benchmarks.quantisation RUN [RUN ...] [--recipes minmax mse ...] [--budget-minutes 5]

Each file is made from the calibration images of the run and compared with `model.keras` on its test split, through the
engine that runs it. `plain converter` is TensorFlow's with a representative data set and int8 input and output; `plain
quantize_static` is ONNX Runtime's with its defaults after its own preprocessing, on tf2onnx's file. Both keep the three
input channels that training has. Prints one Markdown table a run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.quantization import grey_to_float
from export.exporter import SAMPLE, with_reference
from export.inputs.calibration import CalibrationSet
from export.inputs.image_sets import read_training_images
from export.inputs.opening import open_inputs
from export.parity.engine_answers import Answers, ask
from export.parity.measures import FileParity, compare
from export.quantize.recipes import NAMES, open_recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quiet import quiet_converters
from export.request import ExportRequest

HEAD = "| way | format | MB | AUC change | radiographs changed | images changed | p99 | largest | seconds | ms |"
Row = tuple[str, float, FileParity]  # way, seconds to make the file, figures


def measure(run: Path, recipes: list[str], budget_minutes: float | None) -> Iterator[Row]:
    from export.convert import model_files, prepared_network

    opened = open_inputs(ExportRequest(run, Path(), int8=True))
    calibration, test = opened.images.calibration, opened.images.judging
    prepared = prepared_network.prepare(prepared_network.load(opened), opened.network.spec, test.images_u8[:SAMPLE])
    images = with_reference(test, prepared.model)
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("plain converter", plain_tflite), ("plain quantize_static", plain_onnx)):
            start = time.perf_counter()
            path, answer = make(prepared.model, calibration, Path(folder))
            yield name, time.perf_counter() - start, compare(path, prepared.spec, answer(images.images_u8), images)
        training = lambda: read_training_images(opened.network, calibration)  # noqa: E731
        inputs = RecipeInputs(calibration, training, budget_minutes=budget_minutes)
        for name in recipes:
            start = time.perf_counter()
            quantized = open_recipe(name).quantize(prepared, (".tflite", ".onnx"), inputs)
            seconds = time.perf_counter() - start
            for path, spec in model_files.write_files(Path(folder), "int8", quantized, prepared.spec).items():
                yield name, seconds, compare(path, spec, ask(path, spec, images.images_u8), images)


Asking = Callable[[NDArray[np.uint8]], Answers]


def plain_tflite(model: Any, calibration: CalibrationSet, folder: Path) -> tuple[Path, Asking]:
    import ai_edge_litert
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    saved = folder / "saved"
    model.export(saved, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in as_network_input(model, calibration.images_u8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = folder / "plain_int8.tflite"
    path.write_bytes(converter.convert())

    def answer(images_u8: NDArray[np.uint8]) -> Answers:
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
        (entry,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()

        def run(image: NDArray[np.float32]) -> float:
            scale, zero_point = entry["quantization"]
            integers = np.clip(np.round(image / scale) + zero_point, -128, 127).astype(np.int8)
            interpreter.set_tensor(entry["index"], integers)
            interpreter.invoke()
            scale, zero_point = output["quantization"]
            return (float(interpreter.get_tensor(output["index"]).item()) - zero_point) * scale

        return timed("litert", ai_edge_litert.__version__, run, as_network_input(model, images_u8))

    return path, answer


def plain_onnx(model: Any, calibration: CalibrationSet, folder: Path) -> tuple[Path, Asking]:
    import onnxruntime
    import tensorflow as tf
    import tf2onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._images = as_network_input(model, calibration.images_u8)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"image": image}

    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    converted, prepared, path = (folder / f"plain_{name}.onnx" for name in ("float32", "prepared", "int8"))
    tf2onnx.convert.from_function(function, signature, output_path=str(converted))
    quant_pre_process(str(converted), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(path), Reader())

    def answer(images_u8: NDArray[np.uint8]) -> Answers:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

        def run(image: NDArray[np.float32]) -> float:
            return float(session.run(None, {"image": image})[0].item())

        return timed("onnxruntime", onnxruntime.__version__, run, as_network_input(model, images_u8))

    return path, answer


def as_network_input(model: Any, images_u8: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    channels = model.inputs[0].shape[-1]
    for image_u8 in images_u8:
        yield np.repeat(grey_to_float(image_u8)[np.newaxis, ..., np.newaxis], channels, axis=-1)


def timed(engine: str, version: str, run: Callable[[Any], float], images: Iterator[Any]) -> Answers:
    probabilities, seconds = [], []
    for image in images:
        start = time.perf_counter()
        answer = run(image)
        seconds.append(time.perf_counter() - start)
        probabilities.append(answer)
    return Answers(engine, version, np.array(probabilities, np.float32), float(np.median(seconds) * 1e3))


def as_text(row: Row) -> str:
    way, seconds, one = row
    change = "unknown" if one.radiograph_auc_change is None else f"{one.radiograph_auc_change:+.4f}"
    cells = (
        *(way, "ONNX" if one.file.endswith(".onnx") else "TFLite", f"{one.bytes / 1e6:.2f}", change),
        f"{one.radiograph_decisions_changed} of {one.radiographs}",
        *(f"{one.decisions_changed}", f"{one.percentile_99_difference:.3f}", f"{one.largest_difference:.3f}"),
        *(f"{seconds:.0f}", f"{one.milliseconds:.1f}"),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of edge-train")
    parser.add_argument("--recipes", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--budget-minutes", type=float, help="of fine-tuning")
    options = parser.parse_args()
    for run in options.runs:
        print(f"\n{run}\n\n{HEAD}\n{'|---' * (HEAD.count('|') - 1)}|", flush=True)
        with quiet_converters():
            for row in measure(run, options.recipes, options.budget_minutes):
                print(as_text(row), flush=True)


if __name__ == "__main__":
    main()
