"""auto: from the cheapest recipe to the dearest, the first with margin, the best where none has it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from export.inputs.calibration import CalibrationSet
from export.limits import PRESETS, Limits, goal_of
from export.parity.measures import EvaluationSet
from export.quantize.recipes import NAMES
from export.quantize.recipes.recipe_inputs import RecipeInputs
from export.quiet import quiet_converters
from export.request import ExportRequest
from train.phantom import draw

SPEC = ModelSpec("cnn", 32, "stretch", "box", ("not fractured", "fractured"), 0.5, "phantom")
SUFFIXES = (".tflite", ".onnx")
IMAGES = 16


@pytest.fixture(scope="module")
def choosing():
    """Chooses among recipes by name, with a limit on the 99th percentile; the others do not bind."""
    images_u8 = np.stack([preprocess(draw(12, index).image_u8, SPEC) for index in range(IMAGES)])
    calibration = CalibrationSet(Path("none"), images_u8, (None,) * IMAGES, (), (), True)
    with quiet_converters():
        import keras

        from export.convert import grey_network, prepared_network
        from export.quantize import recipe_search
        from export.quantize.activation_ranges import measure_ranges
        from export.quantize.recipes.preparations import folded
        from export.quantize.recipes.recipe import Recipe
        from export.quantize.recipes.roundings import by_converter
        from export.quantize.recipes.table import RECIPES
        from train.networks.cnn import build_cnn

        def dark_ranges(float_tflite, inputs):
            """Of images far darker than those to come: what lies above is clipped, but for the input itself."""

            def dark():
                for image in inputs():
                    darker = image / 16
                    darker[0, 0, -1] = 1.0
                    yield darker

            return measure_ranges(float_tflite, dark)

        def refuse(network, inputs):
            raise ModelError("a layer is not understood")

        keras.utils.set_random_seed(2)
        network = build_cnn(SPEC.size)
        head = network.get_layer("probability")
        head.set_weights([weights * 20 for weights in head.get_weights()])  # answers that differ between images
        prepared = prepared_network.prepare(network, SPEC, images_u8)
        reference = grey_network.float_probabilities(network, images_u8)
    images = EvaluationSet("validation split", images_u8, None, reference)
    recipes = {
        "minmax": RECIPES["minmax"],
        "dark": Recipe("dark", folded, by_converter, dark_ranges),
        "refusing": Recipe("refusing", folded, refuse, measure_ranges),
    }

    def choose(*names: str, limit: float):
        limits = Limits(auc=1.0, changed=1.0, distance=1.0, percentile_99=limit)
        search = recipe_search.Search(images, limits, dataclasses.replace(limits, percentile_99=limit / 2))
        inputs = RecipeInputs(calibration, lambda: images_u8)
        with quiet_converters():
            return recipe_search.choose([recipes[name] for name in names], prepared, SUFFIXES, inputs, search)

    return choose


@pytest.fixture(scope="module")
def worst(choosing):
    """The 99th percentile of the worse file, of minmax and of dark."""
    tried = choosing("minmax", "dark", limit=0.0).tried
    return {
        name: max(row.percentile_99_difference for row in tried if row.recipe == name) for name in ("minmax", "dark")
    }


def test_the_first_recipe_with_margin_ends_the_search(choosing, worst):
    assert worst["dark"] > worst["minmax"] > 0
    choice = choosing("dark", "minmax", "refusing", limit=2 * worst["minmax"])
    assert choice.recipe == "minmax" and set(choice.quantized) == {".tflite", ".onnx"}
    assert [(row.recipe, row.file, row.chosen) for row in choice.tried] == [
        ("dark", "model_int8.tflite", False),
        ("dark", "model_int8.onnx", False),
        ("minmax", "model_int8.tflite", True),
        ("minmax", "model_int8.onnx", True),
    ]
    assert [row.outcome for row in choice.tried][2:] == ["margin", "margin"]
    assert all(row.seconds > 0 and row.radiographs == IMAGES for row in choice.tried)


def test_a_cheaper_recipe_with_margin_is_taken_though_a_dearer_one_is_better(choosing, worst):
    choice = choosing("dark", "minmax", limit=2 * worst["dark"])
    assert choice.recipe == "dark" and {row.recipe for row in choice.tried} == {"dark"}


@pytest.mark.parametrize("order", [("minmax", "dark"), ("dark", "minmax")])
def test_the_best_is_taken_where_none_has_margin(choosing, worst, order):
    choice = choosing(*order, limit=1.5 * worst["minmax"])
    assert choice.recipe == "minmax" and len(choice.tried) == 4
    assert "passed" in {row.outcome for row in choice.tried if row.chosen}


def test_where_no_recipe_keeps_all_limits_the_percentile_decides_and_not_how_many_are_broken():
    from export.quantize.recipe_search import _Attempt

    def attempt(recipe, broken, *percentiles):
        files = tuple(SimpleNamespace(percentile_99_difference=one) for one in percentiles)
        return _Attempt(recipe, {}, files, broken, False, 1.0)

    tried = [attempt("jumpy", 2, 0.232, 0.216), attempt("near", 5, 0.169, 0.136)]
    assert min(tried, key=lambda one: one.rank).recipe == "near"
    assert min([*tried, attempt("passes", 0, 0.3)], key=lambda one: one.rank).recipe == "passes"


def test_a_recipe_that_cannot_quantise_the_network_is_noted_and_passed_over(choosing):
    choice = choosing("refusing", "minmax", limit=1.0)
    assert choice.recipe == "minmax"
    assert "a layer is not understood" in choice.tried[0].outcome and choice.tried[0].decisions_changed is None
    with pytest.raises(ModelError, match="a layer is not understood"):
        choosing("refusing", limit=1.0)


def test_the_goal_is_half_of_each_limit_and_never_wider_than_the_aim():
    aim = PRESETS["aim"]
    for preset in PRESETS.values():
        goal = goal_of(preset)
        for name in ("auc", "changed", "distance", "percentile_99"):
            assert getattr(goal, name) <= min(getattr(preset, name) / 2, getattr(aim, name))
        assert (goal.sensitivity, goal.specificity) == (preset.sensitivity, preset.specificity)
    assert goal_of(Limits()).changed == aim.changed
    assert goal_of(Limits(percentile_99=0.001)).percentile_99 == 0.0005


def test_recipes_that_choose_integers_are_left_out_where_kernels_are_integers_already(caplog):
    with quiet_converters():
        import keras

        from export.convert.prepared_network import prepare
        from export.exporter import _worth_trying
        from train.int8.fake_quant import put_on_grid
        from train.networks.cnn import build_cnn

        caplog.set_level("INFO", "export")
        keras.utils.set_random_seed(2)
        network, sample_u8 = build_cnn(SPEC.size), np.zeros((1, SPEC.size, SPEC.size), np.uint8)
        prepared = prepare(network, SPEC, sample_u8)
        request = ExportRequest(Path(), Path())
        tried = _worth_trying(prepared, request)
        assert {"equalised", "rounded"} <= set(tried) and "finetuned" not in tried and not caplog.messages
        assert "finetuned" in _worth_trying(prepared, dataclasses.replace(request, budget_minutes=5.0))
        # What calculates more is tried where somebody asks for the nearest files, and last.
        assert "channel_duplication" not in tried
        assert _worth_trying(prepared, dataclasses.replace(request, limits=PRESETS["aim"]))[-1] == "channel_duplication"
        put_on_grid(prepared.folded)
        assert set(tried) - set(_worth_trying(prepared, request)) == {"equalised", "rounded"}
        assert "equalised and rounded are left out" in caplog.messages[0]


def test_the_names_of_recipes_are_those_of_the_table():
    with quiet_converters():
        from export.quantize.recipes.table import RECIPES
    assert tuple(RECIPES) == NAMES
