"""edge-infer as a command: what it prints where, and every exit code reached for real."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edge_runtime import Predictor, __version__, bundle
from edge_runtime.bundle import open_model
from edge_runtime.cli import main

PREDICTION_KEYS = {
    *("path", "label", "probability", "threshold", "decision", "reason"),
    *("model", "model_sha256", "engine", "engine_settings", "milliseconds", "warnings"),
    *("domain", "depth", "depth_from"),
}
HIDE_ENGINES = "for name in ('ai_edge_litert', 'tflite_runtime', 'onnxruntime'): sys.modules[name] = None"


@pytest.fixture
def edge_infer(monkeypatch):
    """Runs the command inside this process, with no model in the environment."""
    monkeypatch.delenv("EDGE_MODEL", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(main, [os.fspath(item) for item in arguments], **options)


@pytest.fixture
def bad_images(tmp_path) -> Path:
    """A folder of an image cut short, an empty file and a text named .png."""
    folder = tmp_path / "bad"
    folder.mkdir()
    Image.linear_gradient("L").save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-800])
    (folder / "empty.png").touch()
    (folder / "note.png").write_text("text")
    return folder


def lines(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


# 0: judged


@pytest.mark.parametrize("engine", ["auto", "litert", "onnxruntime"])
def test_the_command_answers_as_the_library_does(edge_infer, tiny_bundle, golden_images, engine):
    done = edge_infer("--model", tiny_bundle, "--engine", engine, "--json", *golden_images)
    assert (done.exit_code, done.stderr) == (0, "")
    predictor = Predictor(tiny_bundle, engine)
    for found, path in zip(lines(done.stdout), golden_images, strict=True):
        expected = predictor.predict(path).to_dict()
        assert set(found) == PREDICTION_KEYS
        assert (
            set(found.pop("milliseconds")) == set(expected.pop("milliseconds")) == {"decode", "preprocess", "inference"}
        )
        assert found == expected


def test_one_line_of_text_an_image(edge_infer, tiny_bundle, golden_images):
    done = edge_infer("--model", tiny_bundle, *golden_images)
    assert len(done.stdout.splitlines()) == len(golden_images)
    assert done.stdout.startswith(f"not fractured  0.195  {golden_images[0]}  (warning: a network of phantoms, ")


def test_a_folder_is_judged_in_sorted_order(edge_infer, tiny_bundle, golden_images):
    done = edge_infer("--model", tiny_bundle, "--json", tiny_bundle / "golden")
    assert [line["path"] for line in lines(done.stdout)] == [str(path) for path in golden_images]


def test_standard_input_is_one_image(edge_infer, tiny_bundle, golden_images):
    by_name = edge_infer("--model", tiny_bundle, "--json", golden_images[3])
    by_input = edge_infer("--model", tiny_bundle, "--json", "-", input=golden_images[3].read_bytes())
    found, expected = lines(by_input.stdout)[0], lines(by_name.stdout)[0]
    assert found["path"] == "-" and found["probability"] == expected["probability"]


def test_the_model_comes_from_the_environment(edge_infer, tiny_bundle, golden_images):
    environment = {"EDGE_MODEL": str(tiny_bundle / "model_float32.onnx")}
    done = edge_infer("--json", golden_images[0], env=environment)
    assert lines(done.stdout)[0]["model"] == "tiny/model_float32.onnx"


def test_names_in_any_script_come_out_as_they_are(edge_infer_process, tiny_bundle, golden_images, tmp_path):
    for name in ("röntgen hand.png", "рентген.png", "骨折🦴.png", "-dash.png", "new\nline.png"):
        shutil.copy(golden_images[0], tmp_path / name)
    done = edge_infer_process("--model", tiny_bundle, "--json", tmp_path, env={"LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, b"")
    found = {Path(json.loads(line)["path"]) for line in done.stdout.splitlines()}
    assert found == set(tmp_path.iterdir())


@pytest.mark.parametrize("form", [["--json"], []])
def test_names_that_are_no_text_are_escaped(edge_infer_process, tiny_bundle, golden_images, tmp_path, form):
    good, bad = os.fsencode(tmp_path) + b"/\xff\xfe good.png", os.fsencode(tmp_path) + b"/\xff\xfe bad.png"
    shutil.copy(golden_images[0], os.fsdecode(good))
    Path(os.fsdecode(bad)).touch()
    done = edge_infer_process("--model", tiny_bundle, *form, good, bad)
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    assert rb"\udcff\udcfe good.png" in done.stdout
    assert rb"\udcff\udcfe bad.png" in (done.stdout if form else done.stderr)
    if form:
        assert [os.fsencode(json.loads(line)["path"]) for line in done.stdout.splitlines()] == [good, bad]


@pytest.mark.parametrize("option", ["-h", "--help", "--version"])
def test_help_and_version_need_no_model(edge_infer, option):
    done = edge_infer(option)
    assert done.exit_code == 0
    assert (__version__ if option == "--version" else "not a medical device") in done.stdout


# 1: at least one image could not be judged


def test_the_others_are_judged_where_some_cannot_be(edge_infer, tiny_bundle, golden_images, bad_images):
    done = edge_infer("--model", tiny_bundle, "--json", bad_images, "absent.png", golden_images[0])
    assert (done.exit_code, done.stderr) == (1, "")
    *failures, judged = lines(done.stdout)
    assert [failure["error"]["code"] for failure in failures] == ["truncated", "empty", "unsupported", "missing"]
    for failure in failures:
        assert set(failure) == {"path", "error"} and set(failure["error"]) == {"code", "message"}
        assert failure["path"] in failure["error"]["message"]
    assert set(judged) == PREDICTION_KEYS


def test_without_json_failures_go_to_standard_error(edge_infer, tiny_bundle, golden_images, bad_images):
    done = edge_infer("--model", tiny_bundle, bad_images, golden_images[0])
    assert (done.exit_code, len(done.stdout.splitlines()), len(done.stderr.splitlines())) == (1, 1, 4)
    *failures, sum_ = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in failures) and sum_.startswith("4 images: 1 ")


def test_a_path_that_cannot_be_read_does_not_stop_the_others(edge_infer, tiny_bundle, golden_images):
    inside_a_file, too_long = golden_images[0] / "x.png", "x" * 5000 + ".png"
    done = edge_infer("--model", tiny_bundle, "--json", inside_a_file, too_long, golden_images[0])
    assert done.exit_code == 1
    assert [line.get("error", {}).get("code") for line in lines(done.stdout)] == ["storage", "storage", None]


def test_nothing_on_standard_input_is_an_empty_image(edge_infer, tiny_bundle):
    done = edge_infer("--model", tiny_bundle, "--json", "-", input=b"")
    assert done.exit_code == 1 and lines(done.stdout)[0]["error"]["code"] == "empty"


# 2: usage, or nothing to judge


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--json"],
        ["--unknown", "x.png"],
        ["--engine", "tensorflow", "x.png"],
        ["--threads", "0", "x.png"],
        ["--threads", "many", "x.png"],
        ["--self-test", "x.png"],
        ["--self-test", "--bench", "3"],
        ["--bench", "0", "x.png"],
    ],
)
def test_wrong_usage_is_exit_2(edge_infer, arguments):
    done = edge_infer(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: " in done.stderr and "Error: " in done.stderr


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "socket", "empty name"])
def test_what_is_no_file_is_an_error_of_its_own_and_stops_no_other(
    edge_infer, tiny_bundle, tmp_path, golden_images, kind
):
    path = {"device": "/dev/zero", "empty name": ""}.get(kind, os.fspath(tmp_path / "x.png"))
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
    done = edge_infer("--model", tiny_bundle, "--json", path, golden_images[0])
    failure, judged = lines(done.stdout)
    assert done.exit_code == 1 and failure["path"] == path and judged["decision"]
    expected = {"folder": "empty", "empty name": "missing"}.get(kind, "unsupported")
    assert failure["error"]["code"] == expected
    alone = edge_infer("--model", tiny_bundle, path)
    assert alone.exit_code == 1 and alone.stdout == "" and len(alone.stderr.splitlines()) == 1


def test_closed_standard_input_is_an_empty_image(edge_infer_process, tiny_bundle):
    before = "import os, sys; os.close(0); sys.stdin = None"
    done = edge_infer_process("--model", tiny_bundle, "--json", "-", before=before)
    assert done.returncode == 1 and lines(done.stdout.decode())[0]["error"]["code"] == "empty"


def test_an_empty_name_is_not_the_current_folder(edge_infer, tiny_bundle, monkeypatch):
    monkeypatch.chdir(tiny_bundle)
    for arguments in (["--model", "", "x.png"], ["--watch", "", "--out", "x"], ["--watch", "golden", "--out", ""]):
        assert edge_infer(*arguments).exit_code == 2


@pytest.mark.parametrize(("option", "code"), [("--decode-limit", "too_large"), ("--side-limit", "too_large")])
def test_limits_are_options(edge_infer, tiny_bundle, tmp_path, option, code):
    Image.new("L", (2000, 1500), 90).save(tmp_path / "large.png")
    assert edge_infer("--model", tiny_bundle, tmp_path / "large.png").exit_code == 0
    done = edge_infer("--model", tiny_bundle, "--json", option, "1", tmp_path / "large.png")
    assert lines(done.stdout)[0]["error"]["code"] == code


def test_standard_input_and_files_are_read_up_to_a_limit(edge_infer, tiny_bundle, tmp_path):
    with (tmp_path / "sparse.webp").open("wb") as stream:
        stream.truncate(2_000_000_000)
    done = edge_infer("--model", tiny_bundle, "--json", tmp_path / "sparse.webp")
    assert lines(done.stdout)[0]["error"]["code"] == "too_large"
    done = edge_infer("--model", tiny_bundle, "--json", "--file-limit", "1", "-", input=bytes(1_000_001))
    assert lines(done.stdout)[0] == {
        "path": "-",
        "error": {"code": "too_large", "message": "standard input: more than 1 MB; give it as a file"},
    }


# 3: the model


def test_no_model_is_exit_3(edge_infer, golden_images, monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "_SHIPPED_BUNDLE", tmp_path / "none")
    done = edge_infer(golden_images[0])
    assert (done.exit_code, done.stdout) == (3, "") and "--model BUNDLE" in done.stderr


@pytest.mark.parametrize(
    ("model", "engine"),
    [("absent", "auto"), ("golden", "auto"), ("MODEL_CARD.md", "auto"), ("model_int8.onnx", "litert")],
)
def test_an_unfit_model_is_exit_3(edge_infer, tiny_bundle, golden_images, model, engine):
    done = edge_infer("--model", tiny_bundle / model, "--engine", engine, golden_images[0])
    assert (done.exit_code, done.stdout) == (3, "") and done.stderr.startswith("error: ")


@pytest.mark.parametrize("model", ["", "model_int8.tflite"])
def test_an_altered_model_is_exit_3(edge_infer, bundle_copy, golden_images, model):
    path = bundle_copy / "model_int8.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    done = edge_infer("--model", bundle_copy / model, golden_images[0])
    assert (done.exit_code, done.stdout) == (3, "") and "altered" in done.stderr


# The self-test: 0, 3, 4


def test_the_self_test_passes_on_an_honest_bundle(edge_infer, tiny_bundle):
    done = edge_infer("--model", tiny_bundle, "--self-test")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["passed", f"model_{precision}.{suffix}"] for precision in ("int8", "float32") for suffix in ("tflite", "onnx")
    ]


def test_the_self_test_keeps_to_the_engine_asked_for(edge_infer, tiny_bundle):
    done = edge_infer("--model", tiny_bundle, "--self-test", "--json", "--engine", "onnxruntime")
    assert [line["file"] for line in lines(done.stdout)] == ["model_int8.onnx", "model_float32.onnx"]


def test_a_wrong_expected_value_is_exit_4(edge_infer, bundle_copy):
    from edge_runtime.hashing import sha256_of

    path = bundle_copy / "golden" / "expected.json"
    expected = json.loads(path.read_bytes())
    expected["phantom_008.png"]["model_float32.tflite"]["probability"] += 0.01
    path.write_text(json.dumps(expected))
    manifest = json.loads((bundle_copy / "manifest.json").read_bytes())
    manifest["files"]["golden/expected.json"] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    done = edge_infer("--model", bundle_copy, "--self-test", "--json")
    assert done.exit_code == 4 and "1 of 4 do not answer" in done.stderr
    assert [line["passed"] for line in lines(done.stdout)] == [True, True, False, True]
    in_words = edge_infer("--model", bundle_copy, "--self-test").stdout.splitlines()
    assert in_words[2].endswith("; phantom_008.png: 0.189338 expected, 0.179338 found")
    assert "expected" not in in_words[0]


def test_a_self_test_of_a_single_file_is_exit_3(edge_infer, tiny_bundle):
    done = edge_infer("--model", tiny_bundle / "model_int8.onnx", "--self-test")
    assert done.exit_code == 3 and "needs a bundle folder" in done.stderr


# 5: an engine is missing


@pytest.mark.parametrize("arguments", [["--self-test"], ["--engine", "onnxruntime", "x.png"], ["x.png"]])
def test_a_missing_engine_is_exit_5_and_says_how_to_install_it(edge_infer_process, tiny_bundle, arguments):
    done = edge_infer_process("--model", tiny_bundle, *arguments, before=HIDE_ENGINES)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b'pip install "fracture-edge-runtime[' in done.stderr and b"Traceback" not in done.stderr


# 6, and the other ends of a process


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to write to")
def test_a_full_disk_is_exit_6(edge_infer_process, tiny_bundle, golden_images):
    with open("/dev/full", "wb") as full:
        done = edge_infer_process("--model", tiny_bundle, *golden_images, stdout=full)
    assert (done.returncode, done.stderr) == (6, b"error: No space left on device\n")


def test_a_reader_that_leaves_is_a_clean_end(edge_infer_process, tiny_bundle, golden_images):
    read, write = os.pipe()
    os.close(read)
    done = edge_infer_process("--model", tiny_bundle, *golden_images, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_is_exit_130(edge_infer_process, tiny_bundle, golden_images):
    interrupt = (
        "import signal, threading, os\n"
        # A shell starts background jobs with the signal ignored, and the tests may be one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()"
    )
    read, write = os.pipe()  # nothing comes: the command waits
    done = edge_infer_process("--model", tiny_bundle, "-", before=interrupt, stdin=read)
    os.close(read)
    os.close(write)
    assert (done.returncode, done.stderr.split()[-1]) == (130, b"interrupted")
    assert b"Traceback" not in done.stderr


def test_a_shell_sees_it_all(tiny_bundle, golden_images, repository, tmp_path):
    # More answers than a pipe holds, 64 kB: else the last may be written before the reader has gone.
    for index in range(400):
        os.link(golden_images[index % len(golden_images)], tmp_path / f"{index}.png")
    # As typed: a pipe whose reader takes one line.
    command = f"python -m edge_runtime.cli --json --model {tiny_bundle} {tmp_path} | head -1"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(repository),
    }
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 1, "")


def test_a_name_neither_forges_a_line_nor_steers_the_terminal(edge_infer_process, tiny_bundle, golden_images, tmp_path):
    for name in ("a\x1b]0;pwned\x07\x1b[31m.png", "b\nnot fractured  0.001  patient_7.png"):
        (tmp_path / name).write_bytes(golden_images[0].read_bytes())
    (tmp_path / "c\n\x1b[2J.png").write_bytes(b"no image")
    done = edge_infer_process("--model", tiny_bundle, tmp_path)
    assert len(done.stdout.splitlines()) == 2 and len(done.stderr.splitlines()) >= 1
    assert b"\x1b" not in done.stdout + done.stderr and rb"b\nnot fractured" in done.stdout
    assert rb"c\n\x1b[2J.png" in done.stderr


def test_version_tells_the_network_too(edge_infer, tiny_bundle, tmp_path):
    model = open_model(tiny_bundle)
    done = edge_infer("--model", tiny_bundle, "--version")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"edge-infer, version {__version__}",
        f"network: {model.spec.name}/model_int8.tflite, SHA-256 {model.sha256}, in {tiny_bundle}",
    ]
    assert "network: none (" in edge_infer("--model", tmp_path / "x", "--version").stdout


def test_an_unknown_operating_point_is_a_model_error(edge_infer, tiny_bundle, golden_images):
    done = edge_infer("--model", tiny_bundle, "--operating-point", "sure", golden_images[0])
    assert (done.exit_code, done.stdout) == (3, "")
    assert "error: operating point 'sure': the network" in done.stderr


# A table, and what a folder sums up to


def test_a_table_holds_the_answers_of_the_lines(edge_infer, tiny_bundle, golden_images, bad_images, tmp_path):
    table = tmp_path / "answers.csv"
    done = edge_infer("--model", tiny_bundle, "--json", "--csv", table, bad_images, *golden_images)
    assert (done.exit_code, done.stderr) == (1, "")
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row, record in zip(rows, lines(done.stdout), strict=True):
        assert row["path"] == record["path"]
        if "error" in record:
            assert (row["error_code"], row["decision"]) == (record["error"]["code"], "")
        else:
            assert (float(row["probability"]), row["decision"]) == (record["probability"], record["decision"])
            assert row["warnings"] == "; ".join(record["warnings"]) and row["error_code"] == ""


def test_a_table_appears_whole_or_not_at_all(edge_infer, tiny_bundle, golden_images, tmp_path, monkeypatch):
    table = tmp_path / "answers.csv"
    table.write_text("earlier")
    monkeypatch.setattr(Predictor, "predict", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    assert edge_infer("--model", tiny_bundle, "--csv", table, *golden_images).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"] and table.read_text() == "earlier"


def test_a_folder_ends_with_what_it_sums_up_to(edge_infer, tiny_bundle, bad_images, golden_images):
    shutil.copy(golden_images[0], bad_images / "good.png")
    done = edge_infer("--model", tiny_bundle, bad_images)
    decision = Predictor(tiny_bundle).predict(golden_images[0]).decision
    assert f"4 images: 1 {decision}, 3 failed; " in done.stderr.splitlines()[-1]
    assert "images a second" not in edge_infer("--model", tiny_bundle, golden_images[0]).stderr
