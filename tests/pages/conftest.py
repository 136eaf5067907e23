"""One page of each kind, as the commands write them, on drawn images."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edge_runtime.bundle import read_manifest, spec_of_bundle
from export.bundle.facts import BundleFacts, Folding
from export.bundle.page import report_html
from export.evaluation.cli import main as edge_evaluate
from export.limits import Limits
from export.parity.page import write_page
from export.parity.suite import Sources, run_suite
from train import phantom
from train.audit.cli import main as edge_audit
from train.config import TrainConfig
from train.data.split_data import SplitData, load_split_data
from train.engine import make_spec
from train.evaluation import Evaluation
from train.metrics import measure, per_group
from train.operating_point import choose_operating_point, offered_points
from train.run_report import write_report


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Phantoms in splits, one of which stands in two and under two labels, turned too; and a damaged file."""
    folder = tmp_path_factory.mktemp("images") / "drawn $x$ <images>"
    phantom.write_dataset(folder, {"train": 8, "val": 8, "test": 16}, seed=5, workers=1)
    (folder / "dataset.json").unlink()  # found as any folder is: phantoms are not looked through for turned copies
    first = sorted((folder / "train" / "fractured").iterdir())[0]
    shutil.copy(first, folder / "test" / "not_fractured" / "copy.png")
    Image.open(first).rotate(9).save(folder / "train" / "fractured" / "turned.png")
    (folder / "test" / "fractured" / "cut.png").write_bytes(first.read_bytes()[:700])
    return folder


ROOT = Path(__file__).parents[2]
CHANGED = ("--json", "--rotation", "--shortcuts", "--changed-images", "4")


@dataclass(frozen=True)
class Written:
    """What the commands wrote."""

    pages: dict[str, Path]  # by kind
    told: dict[str, Any]  # records of JSON, by the name of their schema


@pytest.fixture(scope="session")
def pages(written) -> dict[str, Path]:
    """Path of each page by its kind."""
    return written.pages


@pytest.fixture(scope="session")
def written(images, tiny_bundle, tmp_path_factory) -> Written:
    """All pages, and what is printed beside them."""
    out = tmp_path_factory.mktemp("pages")
    told = {}
    commands = (
        ("edge-audit-1", edge_audit, [images, "--out", out / "audit", "--json"]),
        ("edge-evaluate-1", edge_evaluate, [tiny_bundle, images / "test", "--out", out / "evaluation", *CHANGED]),
    )
    for schema, command, arguments in commands:
        done = CliRunner().invoke(command, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        told[schema] = json.loads(done.stdout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.metrics.BOOTSTRAP_DRAWS", 50)  # pages are looked at here, not how sure their figures are
        told["edge-train-1"] = _write_run(out / "run", images)
    told["edge-parity-1"] = _write_parity_and_bundle(out, tiny_bundle, images / "val")
    pages = {name: out / name / "report.html" for name in ("audit", "evaluation", "run", "parity", "bundle")}
    pages["facts"] = out / "evaluation" / "model_facts.html"
    evaluate = [ROOT / "edge_runtime" / "model", images / "val", "--out", out / "shipped"]
    assert CliRunner().invoke(edge_evaluate, [str(argument) for argument in evaluate]).exit_code == 0
    pages["protocol"] = out / "shipped" / "modification_protocol.html"
    return Written(pages, told)


def _write_run(folder: Path, images: Path) -> dict[str, Any]:
    """Figures and page of a leaking run whose answers are drawn from a seed, and whose settings name a folder."""
    folder.mkdir()
    config = TrainConfig(
        "cnn", split="folders", accept_leak=True, image_size=32, weights="none", groups="/srv/secret/groups.csv"
    )
    settings = TrainConfig("cnn", split="folders", accept_leak=True, image_size=32, weights="none")
    data = load_split_data(images, settings, lambda labels: make_spec(settings, labels, "radiograph"), lambda *_: None)
    probabilities = _drawn_answers(data)
    history = [
        {"phase": phase, "epoch": epoch, "accuracy": 0.6, "loss": 0.7 - 0.1 * epoch, **_of_validation(epoch)}
        for phase in ("head", "fine-tuning")
        for epoch in (1, 2)
    ]
    evaluation = _evaluation(data, probabilities)
    write_report(folder, config, data, evaluation, probabilities, history)
    return json.loads(json.dumps(evaluation.to_dict()))


def _of_validation(epoch: int) -> dict[str, float]:
    return {"val_accuracy": 0.5 + 0.1 * epoch, "val_loss": 0.7, "val_auc": 0.6 + 0.1 * epoch}


def _drawn_answers(data: SplitData) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, 0.2, data.labels.size)
    probabilities = np.clip(0.35 + 0.3 * data.labels + noise, 0.01, 0.99)
    probabilities[data.records_in("train")] = np.nan
    return probabilities


def _evaluation(data: SplitData, probabilities: np.ndarray) -> Evaluation:
    parts = {name: data.records_in(name) for name in ("val", "test")}
    of = {
        name: (data.labels[rows], probabilities[rows], data.groups[rows]) for name, rows in parts.items()
    }  # labels, probabilities, groups
    point = choose_operating_point(*per_group(*of["val"]))

    def figures(name: str):
        labels, answers, groups = of[name]
        return measure(labels, answers, point.threshold, groups)

    return Evaluation(
        leaked=data.leaks,
        prior_shift=0.1,
        temperature=1.2,
        operating_point=point,
        operating_points=offered_points(*per_group(*of["val"]), point),
        val=figures("val"),
        test_files=figures("test"),
        test_radiographs=measure(*per_group(*of["test"]), point.threshold),
    )


def _write_parity_and_bundle(out: Path, bundle: Path, images: Path) -> dict[str, Any]:
    limits = Limits(auc=1.0, changed=1.0, distance=1.0, percentile_99=0.0, sensitivity=1.0, specificity=1.0)
    suite = run_suite(Sources(bundle, images, None, None, None), limits, 2)
    (out / "parity").mkdir()
    write_page(out / "parity", suite, 20)
    manifest = read_manifest(bundle)
    facts = BundleFacts(
        spec=spec_of_bundle(manifest, bundle),
        recipe="minmax",
        calibration_sha256=(),
        float_model_sha256=manifest["float_model_sha256"],
        leaked=True,
        folding=Folding({}, "2 of 10 layers"),
        tensors={},
        parity=suite.parity.untimed(),
    )
    (out / "bundle").mkdir()
    (out / "bundle" / "report.html").write_bytes(report_html(facts, bundle))
    return json.loads(json.dumps(suite.to_dict(5)))
