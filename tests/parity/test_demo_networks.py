"""Both networks of the embedded data set, each file on each engine, against the trained network on 1,000 phantoms.

`make parity` trains and exports them and says where they are in `$EDGE_PARITY`. The quick twins are test_parity.py and
tests/export/test_parity_cli.py.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.bundle import read_manifest
from edge_runtime.preprocess import preprocess
from export.inputs.calibration import load_calibration
from export.inputs.run_reader import open_network
from export.limits import Limits
from export.parity.engine_answers import ask
from export.parity.gate import FAILED
from export.parity.measures import FLOAT32
from export.parity.page import suite_text
from export.parity.suite import Sources, Suite, run_suite
from export.quiet import quiet_converters
from train.phantom import draw

PHANTOMS, SEED = 1_000, 20_261_124  # of a seed that neither trained nor calibrated
CALIBRATION_PHANTOMS = 300  # on which two draws of calibration images are compared
NETWORKS = ("cnn", "mobilenetv2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "EDGE_PARITY" not in os.environ, reason="EDGE_PARITY is unset: `make parity` trains the networks"
    ),
]


@pytest.fixture(scope="module")
def trained() -> Callable[[str], tuple[Path, Path]]:
    """(run, bundle) of a network."""
    folder = Path(os.environ.get("EDGE_PARITY", ""))
    return lambda kind: (folder / kind, folder / f"{kind}-bundle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("phantoms")
    for index in range(PHANTOMS):
        phantom = draw(SEED, index)
        name = ("not fractured", "fractured")[phantom.label]
        (target / name).mkdir(exist_ok=True)
        Image.fromarray(phantom.image_u8).save(target / name / f"{index}.png")
    return target


@pytest.fixture(scope="module", params=NETWORKS)
def suite(request, trained, folder, repository) -> Suite:
    run, bundle = trained(request.param)
    python = repository / os.environ.get("TFLITE_VENV", ".venv-tflite") / "bin" / "python"
    with quiet_converters():
        sources = Sources(bundle, folder, run, None, python if python.is_file() else None)
        return run_suite(sources, Limits(), layer_images=16)


def test_int8_decides_as_float_does_on_every_engine(suite, capsys):
    with capsys.disabled():
        print(f"\n{suite_text(suite, worst=3)}")
    assert suite.parity.images == PHANTOMS
    assert {one.engine for one in suite.parity.files} >= {"litert", "onnxruntime"}
    verdicts = {f"{one.file}, {one.engine}": (one.verdict, one.reasons) for one in suite.parity.files}
    assert not {name: found for name, found in verdicts.items() if found[0] == FAILED}


def test_float_files_answer_as_the_trained_network(suite):
    floats = [one for one in suite.parity.files if one.precision == FLOAT32]
    assert len(floats) >= 2
    assert all(one.largest_difference <= suite.parity.float_tolerance for one in floats)


def test_threads_order_and_repetition_change_nothing(suite):
    assert all(one.steady for one in suite.answers if one.steady is not None)


def test_the_noise_of_each_layer_is_known_in_both_formats(suite):
    tflite, onnx = (suite.layers[f"model_int8{suffix}"] for suffix in (".tflite", ".onnx"))
    assert min(len(tflite), len(onnx)) >= 7
    assert all(one.snr_db > 10 for one in (*tflite, *onnx))


@pytest.mark.parametrize("kind", NETWORKS)
def test_two_disjoint_draws_of_calibration_images_agree(trained, kind, capsys):
    run, bundle = trained(kind)
    network = open_network(run, None, None)
    images_u8 = np.stack(
        [preprocess(draw(SEED, PHANTOMS + index).image_u8, network.spec) for index in range(CALIBRATION_PHANTOMS)]
    )
    calibration = load_calibration(network.calibration, network.spec)
    halves = [calibration.without(range(first, len(calibration), 2)) for first in (0, 1)]
    assert not set(halves[0].sha256) & set(halves[1].sha256)
    with quiet_converters(), tempfile.TemporaryDirectory() as where:
        from export.convert import grey_network, model_files, prepared_network
        from export.quantize.recipes import open_recipe
        from export.quantize.recipes.recipe_inputs import RecipeInputs

        model = grey_network.load_network(network.model, network.spec.size)
        prepared = prepared_network.prepare(model, network.spec, images_u8[:16])
        recipe = open_recipe(read_manifest(bundle)["recipe"])
        answers: dict[str, list[np.ndarray]] = {}
        for number, half in enumerate(halves):
            inputs = RecipeInputs(half, lambda half=half: half.images_u8)
            out = Path(where, str(number))
            out.mkdir()
            files = model_files.write_files(
                out, "int8", recipe.quantize(prepared, (".tflite", ".onnx"), inputs), network.spec
            )
            for path, spec in files.items():
                answers.setdefault(path.name, []).append(ask(path, spec, images_u8).probabilities)
    limits, threshold = Limits(), network.spec.threshold
    for name, (one, other) in answers.items():
        difference = float(np.percentile(np.abs(one - other), 99))
        changed = float(np.mean((one >= threshold) != (other >= threshold)))
        with capsys.disabled():
            print(f"\n{kind}, {name}: two draws of calibration images, p99 {difference:.4f}, {changed:.2%} changed")
        assert difference <= limits.percentile_99 and changed <= limits.changed
