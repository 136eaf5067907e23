"""edge-evaluate as a command: what it writes can be counted again, and a kill loses nothing."""

from __future__ import annotations

import csv
import html.parser
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from edge_runtime import Predictor
from export.evaluation.cli import main
from export.evaluation.judging import PART
from train.phantom.dataset import write_images

SVG = ("--plots", "svg")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """24 phantoms in class folders, one of them twice, a damaged file, and a table of regions."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, {"test": 24}, 3, 1)
    for split in folder.glob("test/*"):
        split.rename(folder / split.name)
    (folder / "test").rmdir()
    files = sorted(folder.rglob("*.png"))
    shutil.copyfile(files[0], files[0].with_name("again.png"))
    (folder / "fractured" / "cut.png").write_bytes(files[1].read_bytes()[:900])
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "region", "note"])
        for number, path in enumerate(sorted(folder.rglob("*.png"))):
            writer.writerow([path.relative_to(folder).as_posix(), "<hand>" if number % 2 else "leg", "a, b"])
    return folder


@pytest.fixture(scope="module")
def evaluated(images, tiny_bundle, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "out"
    done = run(tiny_bundle, images, "--out", out, "--by", "region", "--against", tiny_bundle / "model_int8.onnx", *SVG)
    assert done.exit_code == 0, done.output
    return out


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_predictions_are_those_of_the_device_and_keep_the_columns_of_the_table(evaluated, images, tiny_bundle):
    predictor = Predictor(tiny_bundle)
    rows = rows_of(evaluated)
    assert len(rows) == 25
    for row in rows[:5]:
        answer = predictor.predict(images / row["path"])
        assert float(row["probability"]) == answer.probability
        assert row["decision"] == str(int(answer.label == predictor.model.spec.labels[1]))
        assert row["region"] in ("<hand>", "leg") and row["note"] == "a, b"
        assert row["label"] == str(int(row["path"].startswith("fractured/")))


def test_figures_can_be_counted_again_from_the_predictions(evaluated):
    metrics, rows = json.loads((evaluated / "metrics.json").read_text()), rows_of(evaluated)
    by_group = {row["group"]: row for row in rows}
    assert metrics["radiographs"] == len(by_group) == 24  # the copy counts once
    labels = [int(row["label"]) for row in by_group.values()]
    probabilities = [float(row["probability"]) for row in by_group.values()]
    assert metrics["figures"]["AUC"]["value"] == pytest.approx(roc_auc_score(labels, probabilities))
    assert metrics["left_out"][0]["path"] == "fractured/cut.png"
    other = metrics["comparisons"]["model_int8.onnx"]
    assert set(metrics["comparisons"]) == {"model_float32.tflite", "model_int8.onnx"}
    assert other["decisions_that_differ"] == sum(
        (float(row["probability"]) >= metrics["threshold"])
        != (float(row["probability of model_int8.onnx"]) >= metrics["threshold"])
        for row in by_group.values()
    )
    assert {row["value"] for row in metrics["subgroups"]} == {"<hand>", "leg"}


def test_intervals_are_by_patient_where_the_user_tells_whose_the_radiographs_are(
    images, tiny_bundle, evaluated, tmp_path
):
    paths = [path.relative_to(images).as_posix() for path in sorted(images.rglob("*.png"))]
    table = tmp_path / "patients.csv"
    table.write_text("path,group\n" + "".join(f"{path},{number // 3}\n" for number, path in enumerate(paths)))
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--groups", table)
    assert done.exit_code == 0, done.output
    plain, clustered = (
        json.loads((out / "metrics.json").read_text())["figures"] for out in (evaluated, tmp_path / "out")
    )
    for name in ("AUC", "sensitivity", "Brier score"):
        assert clustered[name]["value"] == plain[name]["value"] and clustered[name]["n"] == plain[name]["n"]
        assert "patient" in clustered[name]["method"] and "patient" not in plain[name]["method"]
        assert clustered[name]["low"] != plain[name]["low"]


def test_the_page_is_one_file_that_escapes_what_is_not_ours(evaluated):
    text = (evaluated / "report.html").read_text()
    assert "<hand>" not in text and "&lt;hand&gt;" in text
    assert "<script" not in text and "http:" not in text.replace("http://www.w3.org", "")
    assert text.count("Research use only") == 1 and str(evaluated.parent) not in text
    found = _Found()
    found.feed(text)
    assert len(found.ids) == len(set(found.ids))
    assert set(found.targets) <= {"model_facts.html", *(f"#{one}" for one in found.ids)}
    assert found.unsaid == 0


class _Found(html.parser.HTMLParser):
    """Ids, links, and pictures that say nothing to who cannot see them."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.unsaid, self._depth = 0, 0

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "svg":
            self._depth += 1
        if not self._depth:  # ids inside a plot are matplotlib's own
            self.ids += [given["id"]] if "id" in given else []
        self.targets += [given["href"]] if tag == "a" else []
        if (tag == "img" and not given.get("alt")) or (given.get("role") == "img" and not given.get("aria-label")):
            self.unsaid += 1

    def handle_endtag(self, tag):
        self._depth -= tag == "svg"


def test_an_interrupted_evaluation_goes_on(images, tiny_bundle, evaluated, tmp_path, monkeypatch):
    calls = []
    judged = Predictor.predict

    def counted(self, path, *arguments, **options):
        calls.append(path)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return judged(self, path, *arguments, **options)

    monkeypatch.setattr(Predictor, "predict", counted)
    out = tmp_path / "out"
    assert run(tiny_bundle, images, "--out", out).exit_code != 0
    assert not out.exists()
    kept = (tmp_path / ".out.unfinished" / PART).read_text().splitlines()
    assert len(kept) == 1 + 6  # two files judge each image
    calls.clear()
    monkeypatch.setattr(Predictor, "predict", lambda *a, **k: (calls.append(a[1]), judged(*a, **k))[1])
    assert run(tiny_bundle, images, "--out", out).exit_code == 0
    assert len(calls) == 2 * (25 - 6)
    assert [row["probability"] for row in rows_of(out)] == [row["probability"] for row in rows_of(evaluated)]
    assert not (tmp_path / ".out.unfinished").exists()


def test_images_without_labels_get_a_distribution_and_no_figure(tiny_bundle, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    done = run(tiny_bundle, tmp_path / "images", "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)
    assert metrics["images"] == 3 and "figures" not in metrics
    assert 0 <= metrics["probabilities"]["quantiles"]["0.5"] <= 1
    assert "No figures" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_that_is_no_evaluation_is_not_replaced(tiny_bundle, images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text('{"mine": 1}')
    done = run(tiny_bundle, images, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "--out" in done.stderr
    assert (tmp_path / "out" / "metrics.json").read_text() == '{"mine": 1}'


def test_an_image_that_the_table_does_not_name_is_of_a_subgroup_of_its_own(tiny_bundle, images, tmp_path):
    copied = shutil.copytree(images, tmp_path / "images")
    lines = (copied / "index.csv").read_text().splitlines()
    (copied / "index.csv").write_text("\n".join(lines[:12]))
    done = run(tiny_bundle, copied, "--out", tmp_path / "out", "--by", "region", "--json")
    assert done.exit_code == 0, done.output
    rows = {row["value"]: row["n"] for row in json.loads(done.stdout)["subgroups"]}
    assert set(rows) >= {"not told", "leg"} and sum(rows.values()) == 24


def test_a_leaking_run_is_told_everywhere_and_claims_nothing(make_run, tmp_path):
    folder = shutil.copytree(make_run("cnn"), tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record |= {"leaked": True, "data_root": str(folder / "data")}
    (folder / "run.json").write_text(json.dumps(record))
    done = run(folder, "--out", tmp_path / "out")
    assert done.exit_code == 0 and "LEAKED" in done.output, done.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["leaked"] is True
    text = (tmp_path / "out" / "report.html").read_text()
    assert "LEAKED" in text and "no radiograph of it trained" not in text
    assert "Not told: radiographs of these images trained" in (tmp_path / "out" / "model_facts.html").read_text()


def test_a_network_that_was_fitted_on_its_test_images_is_told(make_run, bundle_copy, tmp_path):
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest | {"leaked": True}))
    done = run(bundle_copy, "--run", make_run("cnn"), "--out", tmp_path / "out")
    assert done.exit_code == 0 and "LEAKED" in done.output, done.output


def test_what_does_not_apply_is_no_task_of_the_user():
    from export.evaluation.checklist import claim_items

    items = {item.topic: item for item in claim_items({"Model": "m"}, {"Explainability": "no map", "Model": "never"})}
    told = [(items[topic].status, items[topic].text) for topic in ("Model", "Explainability")]
    assert told == [("filled", "m"), ("n/a", "no map")] and items["Study design"].status == "user"


def test_plots_are_files_where_they_were_asked_for(evaluated):
    names = {path.name for path in (evaluated / "plots").iterdir()}
    assert names == {"roc.svg", "reliability.svg", "probabilities.svg", "decision_curve.svg"}
    assert "currentColor" not in (evaluated / "plots" / "roc.svg").read_text()  # black on white, for a manuscript


@pytest.mark.slow
def test_plots_are_files_on_wish_with_the_same_bytes_again(tiny_bundle, images, tmp_path):
    for name in ("one", "two"):
        assert run(tiny_bundle, images, "--out", tmp_path / name, "--plots", "svg,png,pdf").exit_code == 0
    files = sorted((tmp_path / "one" / "plots").iterdir())
    assert {path.stem for path in files} == {"roc", "reliability", "probabilities", "decision_curve"}
    starts = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert {path.suffix for path in files} == set(starts)
    for path in files:
        assert path.read_bytes().startswith(starts[path.suffix])
        assert path.read_bytes() == (tmp_path / "two" / "plots" / path.name).read_bytes(), path.name
    assert run(tiny_bundle, images, "--out", tmp_path / "one").exit_code == 0
    assert not (tmp_path / "one" / "plots").exists()
    (tmp_path / "two" / "plots" / "mine.svg").write_text("mine")
    done = run(tiny_bundle, images, "--out", tmp_path / "two")
    assert done.exit_code == 2 and (tmp_path / "two" / "plots" / "mine.svg").exists()


def test_wrong_requests_are_named(tiny_bundle, images, tmp_path):
    done = run(tiny_bundle, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "which images?" in done.stderr
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--by", "colour")
    assert done.exit_code == 2 and "--by colour" in done.stderr
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--changed-images", 4)
    assert done.exit_code == 2 and "--rotation" in done.stderr
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--data", tmp_path)
    assert done.exit_code == 2 and "--run RUN" in done.stderr
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--run", tmp_path / "none")
    assert done.exit_code == 3 and not (tmp_path / ".out.unfinished").exists()
    done = run(tiny_bundle, images, "--out", tmp_path / "out", "--plots", "gif")
    assert done.exit_code == 2 and "svg,png,pdf" in done.stderr
    done = run(tmp_path / "nothing", images, "--out", tmp_path / "out")
    assert done.exit_code == 3 and "no such model" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_network_of_a_run_is_judged_on_its_own_test_split(make_run, tmp_path):
    run_folder = make_run("cnn")
    done = run(run_folder, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    metrics = json.loads(done.stdout)
    assert metrics["model"] == "model.keras" and metrics["images_from"] == "test split of the run"
    assert metrics["radiographs"] == metrics["images"] == 16
