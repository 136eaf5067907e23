"""The export from beginning to end: read, check, convert, measure, write. Reads top to bottom."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.embedded_spec import embed, sha256_of
from edge_runtime.engines.tensors import check_input_contract
from edge_runtime.errors import DataError
from edge_runtime.spec import ModelSpec, Tensor
from export.bundle import new_bundle, refuse_foreign, write_manifest
from export.calibration import FEWEST_IMAGES, CalibrationSet, load_calibration, rows_shared_with
from export.run import FloatNetwork, open_network, read_test_images

if TYPE_CHECKING:
    import keras

    from export.parity import EvaluationSet, Parity

FORMATS = ("tflite", "onnx")
PACKAGES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "pillow")

Tell = Callable[[str], None]

_FOLDING_IMAGES = 32  # enough to tell whether one channel answers as three do


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks of one export."""

    source: Path  # run folder, or `.keras` file
    out: Path  # bundle to write
    int8: bool = False  # make the int8 files too
    spec: Path | None = None  # of a `.keras` file
    calibration: Path | None = None  # folder of calibration images; None takes the run's own
    data: Path | None = None  # folder of the radiographs, where they have moved
    formats: tuple[str, ...] = FORMATS  # of FORMATS
    recipe: str = "minmax"  # of export.recipes.NAMES
    force: bool = False  # calibrate with phantoms for a network trained on radiographs


@dataclass(frozen=True)
class _Evidence:
    """The images of one export, read and checked before anything slow begins."""

    images_u8: NDArray[np.uint8]  # (N, S, S), on which files are compared
    labels: NDArray[np.int64] | None  # (N,), 1 positive; None unknown
    name: str  # where the images come from
    calibration: CalibrationSet | None  # None for a float export


def export(request: ExportRequest, tell: Tell, warn: Tell) -> Parity:
    """The parity of the bundle that was written.

    Args:
        request: what to export and how.
        tell: is given a line at each step.
        warn: is given what a user ought to know.

    Raises:
        DataError: data or calibration images from which nothing can be made, or a target that is not a bundle.
        ModelError: the network is missing, damaged or cannot be converted.
        GateError: a float file does not agree with the network.
    """
    refuse_foreign(request.out)
    network = open_network(request.source, request.spec, request.data)
    tell("reading images")
    evidence = _gather(request, network, warn)
    tell("loading TensorFlow and the network")
    from export import deployed, parity

    model = deployed.load_network(network.model, network.spec.size)
    reference = deployed.float_probabilities(model, evidence.images_u8)
    images = parity.EvaluationSet(evidence.name, evidence.images_u8, evidence.labels, reference)
    grey_model = deployed.with_grey_input(model, evidence.images_u8[:_FOLDING_IMAGES])
    with new_bundle(request.out) as folder:
        specs = _write_models(folder, request, network.spec, grey_model, evidence.calibration, tell)
        measured = _measure(specs, images, tell)
        _write_rest(folder, request, network, specs, measured, evidence.calibration, model, tell)
    return measured


def _gather(request: ExportRequest, network: FloatNetwork, warn: Tell) -> _Evidence:
    calibration = _calibration(request, network, warn) if request.int8 else None
    if network.leaked:
        warn("the run's test images share radiographs with its training images: its figures flatter the network")
    if network.test:
        images_u8 = read_test_images(network)
        if calibration is not None:
            calibration = _disjoint(calibration, network, images_u8, warn)
        return _Evidence(images_u8, _labels([image.label for image in network.test]), "test split", calibration)
    if calibration is None:
        from export.golden import draw_candidates

        return _Evidence(draw_candidates(network.spec), None, "phantoms", None)
    warn("no test images: the files are compared on the calibration images, which flatters them")
    return _Evidence(calibration.images_u8, _labels(calibration.labels), "calibration images", calibration)


def _labels(labels: Sequence[int | None]) -> NDArray[np.int64] | None:
    """int64 (N,); None where the label of some image is unknown."""
    known = [label for label in labels if label is not None]
    return np.array(known, np.int64) if len(known) == len(labels) else None


def _calibration(request: ExportRequest, network: FloatNetwork, warn: Tell) -> CalibrationSet:
    folder = request.calibration or network.calibration
    if folder is None:
        raise DataError("int8 needs calibration images: --calibration DIR (calibration_data/README.md says how)")
    calibration = load_calibration(folder, network.spec)
    if calibration.phantoms and network.spec.domain == "radiograph":
        message = f"{folder}: phantoms cannot calibrate a network that was trained on radiographs"
        if not request.force:
            raise DataError(f"{message}; give real ones with --calibration DIR, or insist with --force")
        warn(f"{message}; done all the same, because of --force")
    return calibration


def _disjoint(
    calibration: CalibrationSet, network: FloatNetwork, images_u8: NDArray[np.uint8], warn: Tell
) -> CalibrationSet:
    """The calibration images that are not test images too. Only a split known to leak may hold such."""
    shared = rows_shared_with(calibration, (image.sha256 for image in network.test), images_u8)
    if not shared:
        return calibration
    message = f"{calibration.folder}: {len(shared)} of {len(calibration)} calibration images are test images"
    if not network.leaked:
        raise DataError(f"{message}; a file cannot be judged on what it was made with, choose training images")
    if len(calibration) - len(shared) < FEWEST_IMAGES:
        raise DataError(f"{message}; fewer than {FEWEST_IMAGES} would be left")
    warn(f"{message}, because the run's split leaks; they were left out")
    return calibration.without(shared)


def _write_models(
    folder: Path,
    request: ExportRequest,
    spec: ModelSpec,
    model: keras.Model,
    calibration: CalibrationSet | None,
    tell: Tell,
) -> dict[Path, ModelSpec]:
    """The spec inside each model file written, by path, float files first."""
    from export import qdq, to_onnx, to_tflite
    from export.recipes import open_recipe

    tell("converting to float32")
    makers = {"tflite": to_tflite.to_float_tflite, "onnx": to_onnx.to_float_onnx}
    floats = {f".{name}": makers[name](model) for name in FORMATS if name in request.formats}
    specs: dict[Path, ModelSpec] = {}
    for suffix, content in floats.items():
        specs |= _write_model(folder / f"model_float32{suffix}", content, spec, to_onnx.float_tensors())
    if calibration is not None:
        tell(f"quantising to int8 with {len(calibration)} calibration images (recipe {request.recipe})")
        for suffix, content in open_recipe(request.recipe).quantize(model, floats, calibration).items():
            tensors = to_tflite.tflite_tensors(content) if suffix == ".tflite" else qdq.int8_onnx_tensors()
            specs |= _write_model(folder / f"model_int8{suffix}", content, spec, tensors)
    return specs


def _write_model(path: Path, content: bytes, spec: ModelSpec, tensors: tuple[Tensor, ...]) -> dict[Path, ModelSpec]:
    inside = spec.with_tensors(tensors)
    check_input_contract(inside, path.name)
    path.write_bytes(embed(content, inside, path.suffix))
    return {path: inside}


def _measure(specs: Mapping[Path, ModelSpec], images: EvaluationSet, tell: Tell) -> Parity:
    from export.parity import measure, require_float_agreement

    tell(f"comparing {len(specs)} files with the trained network on {len(images.images_u8)} images")
    measured = measure(specs.items(), images)
    for parity in measured.files:
        if parity.file.startswith("model_float32"):
            require_float_agreement(parity)
    return measured


def _write_rest(
    folder: Path,
    request: ExportRequest,
    network: FloatNetwork,
    specs: Mapping[Path, ModelSpec],
    measured: Parity,
    calibration: CalibrationSet | None,
    model: keras.Model,
    tell: Tell,
) -> None:
    from export import card, golden
    from export.deployed import float_probabilities

    tell("drawing golden images, writing the card and the manifest")
    candidates = golden.draw_candidates(network.spec)
    chosen = golden.spread_around(network.spec.threshold, float_probabilities(model, candidates))
    (folder / golden.FOLDER).mkdir()
    for name, content in golden.golden_files(candidates, chosen, specs).items():
        (folder / golden.FOLDER / name).write_bytes(content)
    facts = _facts(request, network, specs, measured, calibration)
    (folder / "parity.json").write_text(json.dumps(measured.to_dict(), indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(card.model_card(facts, measured), encoding="utf-8")
    (folder / "report.html").write_text(card.report_html(facts, measured), encoding="utf-8")
    write_manifest(folder, facts)


def _facts(
    request: ExportRequest,
    network: FloatNetwork,
    specs: Mapping[Path, ModelSpec],
    measured: Parity,
    calibration: CalibrationSet | None,
) -> dict[str, Any]:
    """What the manifest says of the bundle, plain JSON types."""
    return {
        "spec": replace(network.spec, tensors=()).to_dict(),
        "tensors": {path.name: spec.to_dict()["tensors"] for path, spec in specs.items()},
        "recipe": request.recipe if calibration is not None else None,
        "parity": measured.to_dict(),
        "calibration": [{"sha256": digest} for digest in (calibration.sha256 if calibration else ())],
        "float_model_sha256": sha256_of(network.model),
        "versions": {package: version(package) for package in PACKAGES},
        "proven_on": [platform.machine()],
        "leaked": network.leaked,
    }
