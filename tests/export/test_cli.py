"""edge-export as a command: what it refuses, with which exit code, and what it prints where."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from export.cli import main
from export.parity.measures import measure_file

NO_LIMITS = [
    argument
    for name in ("auc", "changed", "distance", "percentile-99", "sensitivity", "specificity")
    for argument in (f"--limit-{name}", "1")
]


@pytest.fixture
def edge_export():
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_names_every_option_without_importing_tensorflow():
    code = (
        "import sys; from export.cli import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'tensorflow', 'keras', 'onnx', 'sklearn'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in (
        "--int8",
        "--out",
        "--calibration",
        "--data",
        "--spec",
        "--formats",
        "--recipe",
        "--gate",
        "--force",
    ):
        assert option in done.stdout


def test_the_table_goes_to_stdout_and_nothing_of_the_converters_anywhere(make_run, tmp_path):
    arguments = [str(make_run("cnn")), "--int8", "--out", str(tmp_path / "bundle"), *NO_LIMITS]
    code = "import sys; from export.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    steps = ("trying recipe", "comparing", "converting", "drawing", "loading", "reading")  # told when it takes long
    assert done.returncode == 0 and all(line.startswith(steps) for line in done.stderr.splitlines())
    for name in ("model_float32.tflite", "model_float32.onnx", "model_int8.tflite", "model_int8.onnx"):
        assert name in done.stdout
    assert "changed" in done.stdout and "16 images of 16 radiographs (test split)" in done.stdout
    assert "Recipes tried" in done.stdout and "8 images, validation split" in done.stdout


def test_a_network_made_elsewhere_is_exported_with_its_spec(make_run, edge_export, tmp_path, monkeypatch):
    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)
    run = make_run("cnn")
    given = (run / "model.keras", "--spec", run / "spec.json", "--out", tmp_path / "bundle", "--formats", "tflite")
    done = edge_export(*given, "--int8", "--calibration", run / "calibration", *NO_LIMITS)
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["parity"]["measured_on"], manifest["parity"]["verdict"]) == ("calibration images", "too small")
    assert "calibrated it too" in done.stdout
    assert set(manifest["tensors"]) == {"model_float32.tflite", "model_int8.tflite"}


def test_a_moved_data_root_is_an_error_that_names_data(make_run, edge_export, tmp_path):
    run = make_run("cnn", demo=False, data_root=str(tmp_path / "gone"))
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "--data DIR" in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_an_altered_test_image_is_an_error(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    shutil.copy(run / "data" / "001.png", run / "data" / "003.png")
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "003.png: not the file that split.csv names" in done.stderr


def test_calibrating_on_test_images_is_refused(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    done = edge_export(run, "--int8", "--calibration", run / "data", "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "16 of 36 calibration images are test images" in done.stderr


def test_phantoms_do_not_calibrate_a_network_trained_on_radiographs(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    spec = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps({**spec, "domain": "radiograph"}))
    manifest = run / "calibration" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("source_sha256", "seed"))
    done = edge_export(run, "--int8", "--out", tmp_path / "bundle")
    assert done.exit_code == 2 and "--calibrate-with-phantoms" in done.stderr


def test_calibrating_on_a_copy_of_a_test_radiograph_is_refused(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    split = (run / "split.csv").read_text()
    (run / "split.csv").write_text(split.replace(",20,train", ",3,train"))  # 020.png shows radiograph 3, a test one
    done = edge_export(run, "--int8", "--out", tmp_path / "bundle")
    assert done.exit_code == 2
    assert "0 of 12 calibration images are test images, 1 more show a radiograph of the test split" in done.stderr


def test_a_file_that_fails_the_gate_ends_with_exit_4_and_no_bundle(make_run, edge_export, tmp_path):
    done = edge_export(make_run("cnn"), "--int8", "--out", tmp_path / "bundle", "--limit-percentile-99", "0")
    assert done.exit_code == 4, done.output
    assert "99th percentile" in done.stderr and "the limit is 0" in done.stderr and "Recipes tried" in done.stderr
    assert not list(tmp_path.iterdir())


def test_force_writes_the_bundle_that_failed_and_marks_it_everywhere(
    make_run, edge_export, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)
    out = tmp_path / "bundle"
    done = edge_export(
        *(make_run("cnn"), "--int8", "--out", out, "--limit-percentile-99", "0", "--recipe", "minmax", "--force")
    )
    assert done.exit_code == 0 and "marked failed" in capfd.readouterr().err
    assert json.loads((out / "manifest.json").read_text())["parity"]["verdict"] == "failed"
    assert json.loads((out / "parity.json").read_text())["verdict"] == "failed"
    assert "failed the gate" in (out / "MODEL_CARD.md").read_text()
    assert "int8 files: failed" in (out / "report.html").read_text()


def test_the_validation_split_chooses_and_the_test_split_is_met_once(make_run, edge_export, tmp_path, monkeypatch):
    met = []

    def spy(path, spec, images):
        met.append((images.name, path.name))
        return measure_file(path, spec, images)

    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)
    monkeypatch.setattr("export.exporter.goal_of", lambda limits: limits)  # the first recipe does
    monkeypatch.setattr("export.quantize.recipe_search.measure_file", spy)
    monkeypatch.setattr("export.parity.measures.measure_file", spy)
    done = edge_export(make_run("cnn"), "--int8", "--formats", "tflite", "--out", tmp_path / "bundle", *NO_LIMITS)
    assert done.exit_code == 0, done.output
    assert met == [
        ("test split", "model_float32.tflite"),  # before any minute goes into int8; it chooses nothing
        ("validation split", "model_int8.tflite"),
        ("test split", "model_int8.tflite"),
    ]
    parity = json.loads((tmp_path / "bundle" / "parity.json").read_text())
    assert [(row["recipe"], row["chosen"], row["outcome"]) for row in parity["tried"]] == [("minmax", True, "margin")]
    assert parity["tried_on"] == "8 images, validation split"


def test_evaluation_images_judge_a_network_made_elsewhere(make_run, edge_export, tmp_path, monkeypatch):
    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)
    run, images = make_run("cnn"), tmp_path / "images"
    for label, folder in enumerate(("not_fractured", "fractured")):
        (images / folder).mkdir(parents=True)
        for index in range(label, 16, 2):
            shutil.copy(run / "data" / f"{index:03d}.png", images / folder)
    given = (run / "model.keras", "--spec", run / "spec.json", "--int8", "--calibration", run / "calibration")
    rest = ("--formats", "tflite", "--recipe", "minmax", "--out", tmp_path / "bundle", *NO_LIMITS)
    done = edge_export(*given, *rest, "--evaluate", images)
    assert done.exit_code == 0, done.output
    parity = json.loads((tmp_path / "bundle" / "parity.json").read_text())
    assert (parity["measured_on"], parity["verdict"], parity["radiographs"]) == ("evaluation images", "passed", 16)
    refused = edge_export(*given, *rest, "--evaluate", run / "calibration")
    assert refused.exit_code == 2 and "12 of 12 evaluation images are calibration images" in refused.stderr


@pytest.mark.parametrize(
    ("damage", "exit_code", "says"),
    [
        (lambda run: (run / "model.keras").unlink(), 3, "edge-train --resume"),
        (lambda run: (run / "spec.json").unlink(), 3, "never guessed"),
        (lambda run: (run / "run.json").unlink(), 3, "a run folder of edge-train was expected"),
        (lambda run: (run / "split.csv").unlink(), 2, "which images are for testing"),
        (lambda run: (run / "split.csv").write_text("path,label\n"), 2, "columns"),
        (lambda run: shutil.rmtree(run / "calibration"), 2, "no such folder of calibration images"),
    ],
)
def test_a_damaged_run_is_an_error_with_its_exit_code(make_run, edge_export, tmp_path, damage, exit_code, says):
    run = make_run("cnn")
    damage(run)
    done = edge_export(run, "--int8", "--out", tmp_path / "bundle")
    assert (done.exit_code, says in done.stderr) == (exit_code, True), done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_no_network_is_a_model_error(make_run, edge_export, tmp_path):
    run = make_run("cnn")
    (run / "model.keras").write_bytes(b"not a network")
    done = edge_export(run, "--out", tmp_path / "bundle")
    assert done.exit_code == 3 and "cannot be loaded as a Keras network" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["nowhere"], 3), (["nowhere", "--formats", "coreml"], 2), (["nowhere", "--recipe", "magic"], 2), ([], 2)],
)
def test_wrong_usage_has_its_exit_code(edge_export, tmp_path, arguments, exit_code):
    assert edge_export(*arguments, "--out", tmp_path / "bundle").exit_code == exit_code


def test_a_network_made_elsewhere_needs_options_alone_and_a_constant_one_is_refused_or_marked(
    make_run, edge_export, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("export.inputs.phantom_images.CANDIDATES", 10)
    import keras

    start = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, -1)(start))
    keras.Model(start, keras.layers.Dense(1, kernel_initializer="zeros")(pooled)).save(tmp_path / "constant.keras")
    given = (tmp_path / "constant.keras", "--out", tmp_path / "bundle", "--formats", "tflite")
    missing = edge_export(*given)
    assert missing.exit_code == 2 and "--labels NEGATIVE,POSITIVE" in missing.stderr
    given += ("--labels", "normal,fractured", "--evaluate", make_run("cnn") / "data")
    refused = edge_export(*given)
    assert refused.exit_code == 4 and "answers 0.500 to each of the" in refused.stderr
    assert not (tmp_path / "bundle").exists()
    forced = edge_export(*given, "--force")
    assert forced.exit_code == 0, forced.output
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["parity"]["verdict"] == "failed"
    assert manifest["spec"]["labels"] == ["normal", "fractured"] and manifest["spec"]["size"] == 32


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--recipe", "mse"), "--recipe: is for int8 files: add --int8"),
        (("--budget-minutes", "1"), "--budget-minutes: is for int8 files: add --int8"),
        (("--int8", "--labels", "a,b"), "--labels: a run folder says that itself"),
        (("--int8", "--input-range", "0..1"), "--input-range: a run folder says that itself"),
        (("--int8", "--size", "32"), "--size: a run folder says that itself"),
        (("--int8", "--recipe", "mse", "--budget-minutes", "1"), "--budget-minutes: recipe mse does not fine-tune"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(make_run, edge_export, tmp_path, options, says):
    done = edge_export(make_run("cnn"), *options, "--out", tmp_path / "bundle")
    assert (done.exit_code, done.stderr) == (2, f"error: {says}\n")


def test_a_spec_to_fill_in_is_printed_and_one_that_is_wrong_names_its_field(make_run, edge_export, tmp_path):
    network, spec = make_run("cnn") / "model.keras", tmp_path / "spec.json"
    done = edge_export("--init-spec", network, "--labels", "whole,broken")
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert (written["size"], written["labels"], written["threshold"]) == (32, ["whole", "broken"], 0.5)
    assert "in the place of normal" in edge_export("--init-spec", network).stderr
    assert edge_export("--init-spec", network, "--int8").exit_code == 2
    wrong = edge_export("--init-spec", network, "--size", "64")
    assert wrong.exit_code == 3 and "its input is 32 x 32, and --size says 64" in wrong.stderr
    for change, says in (
        ({"labels": ["broken"]}, 'field labels: a list of two different names, .* such as \\["normal", "fractured"\\]'),
        ({"size": 64}, "field size is 64; 32 was expected"),
    ):
        spec.write_text(json.dumps({**written, **change}))
        refused = edge_export(network, "--spec", spec, "--out", tmp_path / "bundle")
        assert refused.exit_code == 3 and re.search(says, refused.stderr) and refused.stderr.count("\n") == 1


def test_labels_that_the_network_does_not_have_are_refused(make_run, edge_export, tmp_path):
    network = make_run("cnn") / "model.keras"
    done = edge_export(network, "--labels", "a,b,c", "--positive", "c", "--out", tmp_path / "bundle")
    assert done.exit_code == 3 and "1 unit(s), so 2 classes, and 3 labels were given" in done.stderr
