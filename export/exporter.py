"""The export from beginning to end: read, check, convert, measure, write. Reads top to bottom."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.drafts import clear_drafts
from edge_runtime.embedded_spec import sha256_of
from edge_runtime.errors import DataError
from export.bundle.writer import new_bundle, refuse_foreign, write_manifest
from export.inputs.image_sets import Evidence, ImageSet, choosing_images, gather, read_training_images
from export.inputs.run_reader import Classes, FloatNetwork, open_network
from export.limits import goal_of
from export.quantize.recipes import AUTO, NAMES, ROUNDING, TRAINED, Material, open_recipe
from export.request import ExportRequest

if TYPE_CHECKING:
    import keras

    from export.parity.measures import EvaluationSet, Parity
    from export.quantize.recipe_search import Choice

PACKAGES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "pillow")

_STATE = re.compile(r"[0-9a-f]{16}\.(npz|unfinished)")  # of fine-tuning, written by `export.quantize.fine_tuning`
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
        GateError: a float file does not agree with the network, or an int8 file failed the gate.
    """
    refuse_foreign(request.out)
    classes = Classes(request.labels, request.positive, request.threshold, request.aspect)
    network = open_network(request.source, request.spec, request.data, classes)
    prepared = None
    if network.data_root is None:
        tell("taking the network apart")
        from export.inputs.foreign import reading

        prepared = reading.prepare(network.model, network.positive, request.input_range, warn)
    tell("reading images")
    evidence = gather(request, network, warn)

    tell("loading TensorFlow and the network")
    from export.bundle import golden
    from export.convert import complexity, grey_network, model_files
    from export.inputs import phantom_images
    from export.parity import gate, measures, reference, table

    if prepared is None:
        model = grey_network.load_network(network.model, network.spec.size)
    else:
        model = prepared.model
        if not request.force:
            images = evidence.judging
            reading.require_best_range(prepared, images.images_u8, images.labels, grey_network.float_probabilities)
    sample_u8 = evidence.judging.images_u8[:_SAMPLE]
    grey_model = grey_network.with_grey_input(model, sample_u8)
    folding = complexity.measure_gains(model, grey_model, sample_u8)
    tell("converting to float32")
    floats = model_files.convert_to_float(grey_model, request.formats)
    tell("comparing the float files with the trained network")
    rounding = grey_network.rounding_noise(model, sample_u8)
    judging = _with_reference(evidence.judging, model, rounding)
    doubt = reference.doubt_about(judging)
    if not request.force:
        reference.require_worth(doubt)
    with tempfile.TemporaryDirectory() as before:  # no minute goes into int8 of a network that was changed already
        written = model_files.write_float_files(Path(before), floats, network.spec)
        measures.require_float_agreement(measures.measure(written.items(), judging))
    choice = _quantise(request, network, evidence, model, grey_model, floats, tell, warn) if request.int8 else None

    with new_bundle(request.out) as folder:
        specs = model_files.write_float_files(folder, floats, network.spec)
        if choice is not None:
            specs |= model_files.write_int8_files(folder, choice.quantized, network.spec)

        tell(f"comparing {len(specs)} files with the trained network on {len(evidence.judging.images_u8)} images")
        measured = measures.measure(specs.items(), judging)
        measures.require_float_agreement(measured)
        if choice is not None:
            measured = replace(measured, recipe=choice.recipe, tried=choice.tried, tried_on=choice.tried_on)
        measured = gate.judge(measured, request.limits, evidence.independent)
        if doubt is not None:
            measured = reference.marked(measured, doubt)
            warn(f"{doubt}; every file is marked failed")
        if not request.force:
            gate.require_passed(measured, table.parity_text(measured))
        elif measured.verdict == gate.FAILED:
            warn("the int8 files failed the gate; the bundle was written because of --force, and is marked failed")

        tell("drawing golden images")
        candidates = phantom_images.draw_candidates(network.spec)
        chosen = golden.spread_around(network.spec.threshold, grey_network.float_probabilities(model, candidates))
        golden.write_golden(folder / golden.FOLDER, {index: candidates[index] for index in chosen}, specs)

        facts = _facts(network, evidence, measured) | {"folding": {**folding.to_dict(), "says": str(folding)}}
        tensors = {path.name: spec.to_dict()["tensors"] for path, spec in specs.items()}
        stored = measured.untimed()
        _write_papers(folder, facts | {"tensors": tensors, "parity": stored.to_dict()}, stored)
    _remove_state(_state_folder(request.out))
    return measured


def _quantise(
    request: ExportRequest,
    network: FloatNetwork,
    evidence: Evidence,
    model: keras.Model,
    grey_model: keras.Model,
    floats: Mapping[str, bytes],
    tell: Tell,
    warn: Tell,
) -> Choice:
    """The int8 files of the recipe that was asked for, or of the one that does best on validation images."""
    from export.quantize import recipe_search

    calibration = evidence.calibration
    if calibration is None:
        raise DataError("int8 needs calibration images: --calibration DIR")
    material = Material(
        calibration,
        lambda: read_training_images(network, calibration),
        tell,
        _state_folder(request.out),
        request.budget_minutes,
    )
    if request.recipe != AUTO:
        recipe = open_recipe(request.recipe)
        tell(f"quantising to int8 with {len(calibration)} calibration images (recipe {recipe.name})")
        return recipe_search.Choice(recipe.name, recipe.quantize(grey_model, floats, material))
    choosing = choosing_images(network, calibration, warn)
    return recipe_search.choose(
        [open_recipe(name) for name in _worth_trying(grey_model, request.budget_minutes, tell)],
        grey_model,
        floats,
        network.spec,
        material,
        _with_reference(choosing, model),
        request.limits,
        goal_of(request.limits),
    )


def _worth_trying(model: keras.Model, budget_minutes: float | None, tell: Tell) -> list[str]:
    """Names of the recipes that `auto` tries."""
    from train.int8.batchnorm_folding import foldable
    from train.int8.fake_quant import lies_on_grid

    network = foldable(model)
    needless = () if budget_minutes is not None else TRAINED
    if network is not None and lies_on_grid(network):
        tell(f"the kernels lie on the int8 grid already: recipes {' and '.join(ROUNDING)} are left out")
        needless += ROUNDING
    return [name for name in NAMES if name not in needless]


def _state_folder(out: Path) -> Path:
    """Where a recipe that is stopped leaves what the same command goes on from; gone once the bundle is written."""
    return out.with_name(f".{out.name}.fine-tuning")


def _remove_state(folder: Path) -> None:
    """Removes the states that recipes keep, and the folder where nothing else is in it."""
    clear_drafts(folder)
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _STATE.fullmatch(path.name):
                path.unlink()
        folder.rmdir()


def _with_reference(images: ImageSet, model: keras.Model, rounding: float = 0.0) -> EvaluationSet:
    """Images with the answers of the trained network."""
    from export.convert import grey_network
    from export.parity import measures

    reference = grey_network.float_probabilities(model, images.images_u8)
    return measures.EvaluationSet(images.name, images.images_u8, images.labels, reference, rounding, images.groups)


def _facts(network: FloatNetwork, evidence: Evidence, measured: Parity) -> dict[str, Any]:
    """What the manifest says of where the bundle comes from, plain JSON types."""
    calibration = evidence.calibration
    return {
        "spec": network.spec.to_dict(),
        "recipe": measured.recipe,
        "calibration": [] if calibration is None else [{"sha256": digest} for digest in calibration.sha256],
        "float_model_sha256": sha256_of(network.model),
        "versions": {package: version(package) for package in PACKAGES},
        "proven_on": [platform.machine()],
        "leaked": network.leaked,
    }


def _write_papers(folder: Path, facts: dict[str, Any], measured: Parity) -> None:
    """Writes what people and programs read, the manifest last: it lists all the others."""
    from export.bundle import model_card

    (folder / "parity.json").write_text(json.dumps(measured.to_dict(), indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card.model_card(facts, measured), encoding="utf-8")
    (folder / "report.html").write_text(model_card.report_html(facts, measured), encoding="utf-8")
    write_manifest(folder, facts)
