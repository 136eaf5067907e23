"""The export from beginning to end: read, check, convert, measure, write. Reads top to bottom."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.embedded_spec import sha256_of
from export.bundle import new_bundle, refuse_foreign, write_manifest
from export.evidence import Evidence, gather, read_training_images
from export.recipes import Material, open_recipe
from export.request import ExportRequest
from export.run import FloatNetwork, open_network

if TYPE_CHECKING:
    from export.parity import Parity

PACKAGES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "pillow")

_SAMPLE = 32  # images: enough to tell whether one channel answers as three do, and how much rounding matters

Tell = Callable[[str], None]


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
    evidence = gather(request, network, warn)

    tell("loading TensorFlow and the network")
    from export import deployed, golden, model_files, parity

    model = deployed.load_network(network.model, network.spec.size)
    grey_model = deployed.with_grey_input(model, evidence.images_u8[:_SAMPLE])
    calibration = evidence.calibration
    quantization = None
    if calibration is not None:
        material = Material(calibration, lambda: read_training_images(network, calibration), tell)
        quantization = (open_recipe(request.recipe), material)

    with new_bundle(request.out) as folder:
        specs = model_files.write_model_files(folder, grey_model, network.spec, request.formats, quantization, tell)

        tell(f"comparing {len(specs)} files with the trained network on {len(evidence.images_u8)} images")
        reference = deployed.float_probabilities(model, evidence.images_u8)
        rounding = deployed.rounding_noise(model, evidence.images_u8[:_SAMPLE])
        images = parity.EvaluationSet(evidence.name, evidence.images_u8, evidence.labels, reference, rounding)
        measured = parity.measure(specs.items(), images)
        parity.require_float_agreement(measured)

        tell("drawing golden images")
        candidates = golden.draw_candidates(network.spec)
        chosen = golden.spread_around(network.spec.threshold, deployed.float_probabilities(model, candidates))
        golden.write_golden(folder / golden.FOLDER, {index: candidates[index] for index in chosen}, specs)

        facts = _facts(request, network, evidence)
        tensors = {path.name: spec.to_dict()["tensors"] for path, spec in specs.items()}
        _write_papers(folder, facts | {"tensors": tensors, "parity": measured.to_dict()}, measured)
    return measured


def _facts(request: ExportRequest, network: FloatNetwork, evidence: Evidence) -> dict[str, Any]:
    """What the manifest says of where the bundle comes from, plain JSON types."""
    calibration = evidence.calibration
    return {
        "spec": network.spec.to_dict(),
        "recipe": None if calibration is None else request.recipe,
        "calibration": [] if calibration is None else [{"sha256": digest} for digest in calibration.sha256],
        "float_model_sha256": sha256_of(network.model),
        "versions": {package: version(package) for package in PACKAGES},
        "proven_on": [platform.machine()],
        "leaked": network.leaked,
    }


def _write_papers(folder: Path, facts: dict[str, Any], measured: Parity) -> None:
    """Writes what people and programs read, the manifest last: it lists all the others."""
    from export import card

    (folder / "parity.json").write_text(json.dumps(measured.to_dict(), indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(card.model_card(facts, measured), encoding="utf-8")
    (folder / "report.html").write_text(card.report_html(facts, measured), encoding="utf-8")
    write_manifest(folder, facts)
