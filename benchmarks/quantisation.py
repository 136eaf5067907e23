"""Every recipe beside other tools, as a user would otherwise call them: how far is int8 from the network?

    python -m benchmarks.quantisation RUN [RUN ...] [--recipes minmax mse ...] [--budget-minutes 5]
        [--litert-quantizer PYTHON] [--nncf PYTHON]
    python -m benchmarks.quantisation NETWORK.keras --labels normal,fractured --calibration DIR --evaluate DIR

Each file is made from the calibration images of the run and compared with `model.keras` on its test split, through the
engine that runs it. `plain converter` is TensorFlow's with a representative data set and int8 input and output; `plain
quantize_static` is ONNX Runtime's with its defaults after its own preprocessing, on tf2onnx's file. Both keep the three
input channels that training has. LiteRT Quantizer and NNCF (`benchmarks.other_quantizers`) quantise our own float
files, of one grey channel. Prints one Markdown table a network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.other_quantizers import add_options, ask_file, quantize_elsewhere
from edge_runtime.quantization import grey_to_float
from export.exporter import SAMPLE, with_reference
from export.inputs.calibration import CalibrationSet
from export.inputs.image_sets import read_training_images
from export.inputs.opening import open_inputs
from export.parity.engine_answers import Answers, ask
from export.parity.measures import EvaluationSet, FileParity, compare, compare_answers
from export.quantize.recipes import NAMES, open_recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quiet import quiet_converters
from export.request import ExportRequest

HEAD = "| way | format | MB | AUC change | radiographs changed | images changed | p99 | largest | seconds | ms |"
Row = tuple[str, float, FileParity]  # way, seconds to make the file, figures


def measure(request: ExportRequest, options: argparse.Namespace) -> Iterator[Row]:
    from export.convert import model_files, prepared_network

    opened = open_inputs(request)
    calibration, test = opened.images.calibration, opened.images.judging
    prepared = prepared_network.prepare(prepared_network.load(opened), opened.network.spec, test.images_u8[:SAMPLE])
    images = with_reference(test, prepared.model)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, make in (("plain converter", plain_tflite), ("plain quantize_static", plain_onnx)):
            start = time.perf_counter()
            path = make(prepared.model, calibration, folder)
            seconds = time.perf_counter() - start
            answers = ask_file(path, as_network_input(prepared.model, images.images_u8))
            yield name, seconds, _judged(path, answers, images, prepared.spec.threshold)
        floats = {}
        for suffix, content in model_files.convert_to_float(prepared.grey, (".tflite", ".onnx")).items():
            floats[suffix] = folder / f"float{suffix}"
            floats[suffix].write_bytes(content)
        for name, seconds, path in quantize_elsewhere(options, floats, calibration.inputs(), folder):
            answers = ask_file(path, as_network_input(prepared.grey, images.images_u8))
            yield name, seconds, _judged(path, answers, images, prepared.spec.threshold)
        training = lambda: read_training_images(opened.network, calibration)  # noqa: E731
        inputs = RecipeInputs(calibration, training, budget_minutes=options.budget_minutes)
        for name in options.recipes:
            start = time.perf_counter()
            quantized = open_recipe(name).quantize(prepared, (".tflite", ".onnx"), inputs)
            seconds = time.perf_counter() - start
            for path, spec in model_files.write_files(folder, "int8", quantized, prepared.spec).items():
                yield name, seconds, compare(path, spec, ask(path, spec, images.images_u8), images)


def _judged(path: Path, answers: Answers, images: EvaluationSet, threshold: float) -> FileParity:
    return compare_answers(path.name, "int8", path.stat().st_size, threshold, answers, images)


def plain_tflite(model: Any, calibration: CalibrationSet, folder: Path) -> Path:
    import tensorflow as tf

    saved = folder / "saved"
    model.export(saved, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in as_network_input(model, calibration.images_u8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = folder / "plain_int8.tflite"
    path.write_bytes(converter.convert())
    return path


def plain_onnx(model: Any, calibration: CalibrationSet, folder: Path) -> Path:
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
    return path


def as_network_input(model: Any, images_u8: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    channels = model.inputs[0].shape[-1]
    for image_u8 in images_u8:
        yield np.repeat(grey_to_float(image_u8)[np.newaxis, ..., np.newaxis], channels, axis=-1)


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
    parser.add_argument("networks", type=Path, nargs="+", help="run folders of edge-train, or `.keras` files")
    parser.add_argument("--recipes", nargs="*", default=list(NAMES), choices=NAMES)
    parser.add_argument("--budget-minutes", type=float, help="of fine-tuning")
    parser.add_argument("--labels", type=lambda text: tuple(text.split(",")), default=(), help="of a `.keras` file")
    parser.add_argument("--calibration", type=Path, help="folder of images that a `.keras` file is calibrated with")
    parser.add_argument("--evaluate", type=Path, help="folder of images that judge; a run has its test split")
    add_options(parser)
    options = parser.parse_args()
    for network in options.networks:
        print(f"\n{network}\n\n{HEAD}\n{'|---' * (HEAD.count('|') - 1)}|", flush=True)
        request = ExportRequest(
            network,
            Path(),
            int8=True,
            calibration=options.calibration,
            evaluate=options.evaluate,
            labels=options.labels,
        )
        with quiet_converters():
            for row in measure(request, options):
                print(as_text(row), flush=True)


if __name__ == "__main__":
    main()
