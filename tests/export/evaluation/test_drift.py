"""Drift is told where images differ from a run's, and not where they do not."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from export.evaluation.cli import main
from export.evaluation.drift import stability_index
from train.phantom import draw


def test_the_index_is_that_of_its_definition():
    reference = np.arange(100.0)
    here = np.r_[np.zeros(50), np.full(50, 99.0)]  # half below the first tenth, half above the last
    index, limit = stability_index(here, reference)
    ends = 2 * (0.5 - 0.1) * math.log(0.5 / 0.1)
    middle = 8 * (0.1 - 0.005) * math.log(0.1 / 0.005)  # empty bins count half an image
    assert index == pytest.approx(ends + middle) and index > limit


@pytest.mark.parametrize("size", [30, 100, 1000])
def test_chance_is_told_about_once_in_a_thousand_times(size):
    rng = np.random.default_rng(size)
    draws = [stability_index(rng.normal(size=size), rng.normal(size=500)) for _ in range(300)]
    assert sum(index > limit for index, limit in draws) <= 4


def test_a_shift_is_told():
    rng = np.random.default_rng(1)
    index, limit = stability_index(rng.normal(1.0, 1.0, 200), rng.normal(0.0, 1.0, 500))
    assert index > limit


def test_values_that_are_all_alike_do_not_differ():
    index, limit = stability_index(np.full(50, 3.0), np.full(80, 3.0))
    assert index == 0.0 < limit


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory) -> Path:
    """A run with forty training images."""
    folder = shutil.copytree(make_run("cnn"), tmp_path_factory.mktemp("run") / "run")
    lines = (folder / "split.csv").read_text().splitlines()
    for number in range(40):
        name = f"more_{number}.png"
        Image.fromarray(draw(7, number).image_u8).save(folder / "data" / name)
        lines.append(f"{name},{number:064x},{number % 2},{1000 + number},train")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"data_root": str(folder / "data")}))
    return folder


def evaluated(run: Path, images: Path, out: Path) -> dict:
    bundle = Path(__file__).parents[2] / "edge_runtime" / "golden" / "tiny_bundle"
    done = CliRunner().invoke(main, [str(bundle), str(images), "--run", str(run), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    return {row["quantity"]: row for row in json.loads(done.stdout)["drift"]}


def save(folder: Path, change=lambda image_u8: image_u8) -> Path:
    folder.mkdir()
    for number in range(40):
        Image.fromarray(change(draw(9, number).image_u8)).save(folder / f"{number}.png")
    return folder


def test_other_phantoms_do_not_part_and_darker_ones_do(run, tmp_path):
    rows = evaluated(run, save(tmp_path / "alike"), tmp_path / "one")
    assert set(rows) >= {"mean grey", "sharpness", "width to height"}
    assert [name for name, row in rows.items() if row["parted"]] == []
    rows = evaluated(run, save(tmp_path / "darker", lambda image_u8: image_u8 // 3), tmp_path / "two")
    assert rows["mean grey"]["parted"] and rows["mean grey"]["median"] < rows["mean grey"]["median_reference"]
    assert not rows["width to height"]["parted"]
    assert "Parted: " in (tmp_path / "two" / "report.html").read_text()


def test_few_images_are_no_proof_that_nothing_parts(run, tmp_path):
    folder = save(tmp_path / "few")
    for path in sorted(folder.iterdir())[10:]:
        path.unlink()
    rows = evaluated(run, folder, tmp_path / "out")
    assert {row["index"] for row in rows.values()} == {None} and not any(row["parted"] for row in rows.values())
    assert "Too few images to tell" in (tmp_path / "out" / "report.html").read_text()
