"""edge-audit prints, writes and ends as documented."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from train.audit.cli import main

from .conftest import draw_radiograph, save

MULTIREGION_GROUPS = range(550, 621)  # plausible numbers of independent radiographs


def test_json_has_every_readable_image_in_exactly_one_group(data: Path) -> None:
    (data / "fractured" / "notes.txt").write_text("x")
    result = CliRunner().invoke(main, [str(data), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    paths = [path for group in found["groups"] for path in group]
    assert sorted(paths) == sorted(set(paths))
    assert (len(paths), found["files"]) == (12, 13)
    assert found["unreadable"][0]["path"] == "fractured/notes.txt"
    assert {"conflicts", "leak", "shortcuts", "fit", "reasons"} <= found.keys()


def test_leak_and_conflict_make_it_unfit(tmp_path: Path) -> None:
    for seed in range(4):
        folder = "fractured" if seed % 2 else "normal"
        save(draw_radiograph(seed), tmp_path / "train" / folder / f"{seed}.png")
        save(draw_radiograph(seed), tmp_path / "test" / folder / f"{seed}.jpg")
    turned = Image.fromarray(draw_radiograph(0)).rotate(90)
    turned.save(tmp_path / "train" / "fractured" / "0.png")
    result = CliRunner().invoke(main, [str(tmp_path), "--json", "--strict"])
    assert result.exit_code == 4
    found = json.loads(result.stdout)
    assert not found["fit"]
    assert found["leak"]["groups"]["test"]["train"] == 4
    assert found["conflicts"] == [["test/normal/0.jpg", "train/fractured/0.png", "train/normal/0.png"]]


def test_text_ends_with_the_verdict(data: Path) -> None:
    result = CliRunner().invoke(main, [str(data)])
    assert result.exit_code == 0
    assert "fit for evaluation" in result.stdout.rstrip().splitlines()[-1].lower()


def test_report_needs_nothing_from_elsewhere(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out") / "report"
    assert CliRunner().invoke(main, [str(data), "--out", str(out)]).exit_code == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert 'src="http' not in page and 'href="http' not in page
    assert page.count("data:image/") >= 12
    assert [path.name for path in out.iterdir()] == ["report.html"]


def test_names_that_are_no_text_do_not_stop_it(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    os.rename(data / "fractured" / "1.png", os.fsencode(data / "fractured") + b"/\xff<b>.png")
    out = tmp_path_factory.mktemp("out")
    result = CliRunner().invoke(main, [str(data), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "<b>" not in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["missing", "empty", "one class"])
def test_nothing_to_audit_is_exit_2(tmp_path: Path, content: str) -> None:
    if content != "missing":
        (tmp_path / "data").mkdir()
    if content == "one class":
        save(draw_radiograph(0), tmp_path / "data" / "fractured" / "a.png")
    result = CliRunner().invoke(main, [str(tmp_path / "data")])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


@pytest.mark.slow
@pytest.mark.skipif("EDGE_DATA" not in os.environ, reason="EDGE_DATA is unset: real radiographs are needed")
def test_multiregion_collapses_to_its_radiographs() -> None:
    result = CliRunner().invoke(main, [str(Path(os.environ["EDGE_DATA"]) / "multiregion"), "--json"])
    found = json.loads(result.stdout)
    assert len(found["groups"]) in MULTIREGION_GROUPS
    assert found["conflicts"] == []
    groups = found["leak"]["groups"]
    assert groups["test"]["test"] - groups["test"]["train"] < 10
    assert not found["fit"]


@pytest.mark.parametrize("option", ["--out", "--write"])
def test_nothing_is_written_into_the_data_set(data: Path, option: str) -> None:
    before = sorted(data.rglob("*"))
    result = CliRunner().invoke(main, [str(data), option, str(data / "new")])
    assert result.exit_code == 2 and "lies inside" in result.stderr
    assert sorted(data.rglob("*")) == before


def test_a_report_that_is_not_ours_is_not_overwritten(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    (out / "report.html").write_text("years of work")
    result = CliRunner().invoke(main, [str(data), "--out", str(out)])
    assert result.exit_code == 2 and "nothing was overwritten" in result.stderr
    assert (out / "report.html").read_text() == "years of work"


def test_a_report_of_ours_is_written_anew(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    for _ in range(2):
        assert CliRunner().invoke(main, [str(data), "--out", str(out)]).exit_code == 0


def test_a_name_neither_forges_a_line_nor_steers_the_terminal(data: Path) -> None:
    for name in ("a\x1b[31m.png", "b\nFit for evaluation.png"):
        (data / "fractured" / name).write_text("no image")
    output = CliRunner().invoke(main, [str(data)]).output
    assert "\x1b" not in output and r"b\nFit for evaluation.png" in output and r"a\x1b[31m.png" in output


def test_a_result_for_programs_that_goes_nowhere_is_a_failure(data: Path, repository: Path) -> None:
    command = f'exec "{sys.executable}" -m train.audit.cli "{data}" --json >&-'
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 6 and "standard output: closed" in done.stderr
