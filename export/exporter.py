"""The export from beginning to end: read, check, convert, measure, write. Reads top to bottom."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.bundle import FLOAT32, INT8
from edge_runtime.drafts import clear_drafts
from edge_runtime.errors import DataError
from edge_runtime.spec import ModelSpec
from export.bundle.writer import new_bundle, refuse_foreign, write_manifest
from export.inputs.foreign.archive import model_sha256
from export.inputs.image_sets import ImageSet, choosing_images, read_training_images
from export.inputs.opening import ExportInputs, open_inputs
from export.limits import goal_of
from export.quantize.recipes import AUTO, NAMES, ROUNDING, SLOW_ON_DEVICE, TRAINED, open_recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.request import FORMATS, ExportRequest

if TYPE_CHECKING:
    import keras

    from export.bundle.facts import BundleFacts
    from export.convert.complexity import FoldingEffect
    from export.convert.prepared_network import PreparedNetwork
    from export.parity.measures import EvaluationSet, FileParity, Parity
    from export.quantize.recipe_search import Choice

SAMPLE = 32  # images: enough to tell whether one channel answers as three do, and how much rounding matters

_STATE = re.compile(r"[0-9a-f]{16}\.(npz|unfinished)")  # of fine-tuning, written by `export.quantize.fine_tuning`

log = logging.getLogger(__name__)


def export(request: ExportRequest) -> Parity:
    """The parity of the bundle that was written.

    Raises:
        DataError: data or calibration images from which nothing can be made, or a target that is not a bundle.
        ModelError: the network is missing, damaged or cannot be converted.
        GateError: a float file does not agree with the network, or an int8 file failed the gate.
    """
    refuse_foreign(request.out)
    if request.budget_minutes is not None and request.recipe not in (AUTO, *TRAINED):
        raise DataError(f"--budget-minutes: recipe {request.recipe} does not fine-tune")
    opened = open_inputs(request)
    log.info("loading TensorFlow and the network")
    from export.convert import complexity, float_noise, model_files, prepared_network
    from export.library_errors import told_as_model_error
    from export.parity import gate, measures, reference, table
    from export.parity.coverage import settle_coverage

    images = opened.images.judging
    sample_u8 = images.images_u8[:SAMPLE]
    with told_as_model_error(f"{request.source}: cannot be calculated layer by layer"):
        model = prepared_network.load(opened, request.force)
        prepared = prepared_network.prepare(model, opened.network.spec, sample_u8)
        folding = complexity.measure_folding(prepared, sample_u8)
        rounding = float_noise.float32_noise(prepared.model, sample_u8)
    log.info("converting to float32")
    floats = model_files.convert_to_float(prepared.grey, tuple(FORMATS[name] for name in request.formats))
    log.info("comparing the float files with the trained network")
    judging = with_reference(images, prepared.model, rounding)
    doubt = _doubt_about(judging, request, opened)
    # No minute goes into int8 of a network that the converter changed.
    float_files = _measured_float_files(floats, prepared.spec, judging)
    choice = _quantise(request, opened, prepared, tuple(floats)) if request.int8 else None

    with new_bundle(request.out) as folder:
        specs = model_files.write_files(folder, FLOAT32, floats, prepared.spec)
        files = float_files
        if choice is not None:
            int8_specs = model_files.write_files(folder, INT8, choice.quantized, prepared.spec)
            log.info("comparing %d int8 files with the network on %d images", len(int8_specs), len(images.images_u8))
            files += _measured_int8_files(int8_specs, prepared.model, judging)
            specs |= int8_specs
        measured = measures.summarise(files, prepared.spec.threshold, judging)
        if choice is not None:
            measured = replace(measured, recipe=choice.recipe, tried=choice.tried, tried_on=choice.tried_on)
        measured = gate.judge(measured, request.limits, opened.images.independent)
        if doubt is not None:
            measured = reference.marked(measured, doubt)
            log.warning("%s; every file is marked failed", doubt)
        if not request.force:
            gate.require_passed(measured, table.parity_text(measured))
        elif measured.verdict == gate.FAILED:
            log.warning(
                "the int8 files failed the gate; the bundle was written because of --force, and is marked failed"
            )
        specs = settle_coverage(specs, opened.network)
        _write_golden(folder, prepared, specs)
        facts = _facts(opened, measured.untimed(), folding, specs)
        _write_papers(folder, replace(facts, answers=_usual_answers(opened, prepared)))
    _remove_state(_state_folder(request.out))
    return measured


def with_reference(images: ImageSet, model: keras.Model, rounding: float = 0.0) -> EvaluationSet:
    """Images with the answers of the trained network.

    Args:
        images: on which files are compared.
        model: the network.
        rounding: see `EvaluationSet`.
    """
    from export.convert import grey_network
    from export.parity import measures

    reference = grey_network.float_probabilities(model, images.images_u8)
    return measures.EvaluationSet(images.name, images.images_u8, images.labels, reference, rounding, images.groups)


def _doubt_about(judging: EvaluationSet, request: ExportRequest, opened: ExportInputs) -> str | None:
    """Why agreement with the network would mean nothing, which only --force lets pass.

    A network that is no better than chance is told of where float files alone are written: they claim to be the
    network, and no more.
    """
    from export.parity import reference

    doubt, of_classes = reference.doubt_about(judging), reference.doubt_about_classes(judging)
    if doubt is None and opened.foreign is not None and opened.foreign.gives_logit:
        doubt = reference.doubt_about_logits(judging)
    if request.int8:
        doubt = doubt or of_classes
    elif doubt is None and of_classes is not None:
        log.warning("%s", of_classes)
    if not request.force:
        reference.require_worth(doubt)
    return doubt


def _measured_float_files(
    floats: Mapping[str, bytes], spec: ModelSpec, judging: EvaluationSet
) -> tuple[FileParity, ...]:
    """The figures of the float files, which agree with the network."""
    from export.convert import model_files
    from export.parity import measures

    with tempfile.TemporaryDirectory() as folder:
        measured = measures.measure(model_files.write_files(Path(folder), FLOAT32, floats, spec).items(), judging)
    measures.require_float_agreement(measured)
    return measured.files


def _measured_int8_files(
    specs: Mapping[Path, ModelSpec], model: keras.Model, judging: EvaluationSet
) -> tuple[FileParity, ...]:
    """The figures of the int8 files, on the images as they are and as they come otherwise."""
    from export.convert.grey_network import float_probabilities
    from export.parity import measures, shift

    measured = [(path, spec, measures.measure_file(path, spec, judging)) for path, spec in specs.items()]
    log.info("comparing them under shifts of the images")
    images = shift.shifted(judging.images_u8, judging.groups, lambda turned: float_probabilities(model, turned))
    return tuple(replace(one, shifts=shift.measure_shifts(path, spec, images)) for path, spec, one in measured)


def _quantise(
    request: ExportRequest, opened: ExportInputs, prepared: PreparedNetwork, formats: tuple[str, ...]
) -> Choice:
    """The int8 files of the recipe that was asked for, or of the one that does best on validation images."""
    from export.quantize import recipe_search

    calibration = opened.images.calibration
    if calibration is None:
        raise DataError("int8 needs calibration images: --calibration DIR")
    inputs = RecipeInputs(
        calibration,
        lambda: read_training_images(opened.network, calibration),
        _state_folder(request.out),
        request.budget_minutes,
        request.allow_mixed,
    )
    if request.recipe != AUTO:
        recipe = open_recipe(request.recipe)
        log.info("quantising to int8 with %d calibration images (recipe %s)", len(calibration), recipe.name)
        return recipe_search.Choice(recipe.name, recipe.quantize(prepared, formats, inputs))
    choosing = with_reference(choosing_images(opened.network, calibration), prepared.model)
    search = recipe_search.Search(choosing, request.limits, goal_of(request.limits))
    recipes = [open_recipe(name) for name in _worth_trying(prepared, request)]
    return recipe_search.choose(recipes, prepared, formats, inputs, search)


def _worth_trying(prepared: PreparedNetwork, request: ExportRequest) -> list[str]:
    """Names of the recipes that `auto` tries: the fastest file that does is looked for."""
    from train.int8.fake_quant import lies_on_grid

    needless: tuple[str, ...] = () if request.budget_minutes is not None else TRAINED
    if not request.limits.asks_for_aim:
        needless += SLOW_ON_DEVICE
    if prepared.folded is not None and lies_on_grid(prepared.folded):
        log.info("the kernels lie on the int8 grid already: recipes %s are left out", " and ".join(ROUNDING))
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


def _facts(
    opened: ExportInputs, stored: Parity, folding: FoldingEffect, specs: Mapping[Path, ModelSpec]
) -> BundleFacts:
    from export.bundle.facts import BundleFacts, Folding

    network, calibration = opened.network, opened.images.calibration
    return BundleFacts(
        spec=network.spec,
        recipe=stored.recipe,
        calibration_sha256=() if calibration is None else calibration.sha256,
        float_model_sha256=model_sha256(network.model),
        leaked=network.leaked,
        folding=Folding(folding.to_dict(), str(folding)),
        tensors={path.name: spec.to_dict()["tensors"] for path, spec in specs.items()},
        coverage={path.name: spec.coverage for path, spec in specs.items() if spec.coverage is not None},
        parity=stored,
    )


def _usual_answers(opened: ExportInputs, prepared: PreparedNetwork) -> dict[str, Any] | None:
    from export.bundle.usual_answers import usual_answers
    from export.convert import grey_network

    return usual_answers(opened.network, lambda images_u8: grey_network.float_probabilities(prepared.model, images_u8))


def _write_golden(folder: Path, prepared: PreparedNetwork, specs: Mapping[Path, ModelSpec]) -> None:
    """Phantoms that the network answers from lowest to highest, with the answers of every file."""
    from export.bundle import golden
    from export.convert import grey_network
    from export.inputs import phantom_images

    log.info("drawing golden images")
    candidates = phantom_images.draw_candidates(prepared.spec)
    answers = grey_network.float_probabilities(prepared.model, candidates)
    chosen = golden.spread_around(prepared.spec.threshold, answers)
    golden.write_golden(folder / golden.FOLDER, {index: candidates[index] for index in chosen}, specs)


def _write_papers(folder: Path, facts: BundleFacts) -> None:
    """Writes what people and programs read, the manifest last: it lists all the others."""
    from export.bundle import model_card, page

    (folder / "parity.json").write_text(json.dumps(facts.parity.to_dict(), indent=1) + "\n", encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(model_card.model_card(facts), encoding="utf-8")
    (folder / "report.html").write_bytes(page.report_html(facts, folder))
    write_manifest(folder, facts.to_dict())
