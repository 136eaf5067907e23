"""Each image of an archive has one row, whatever dies on the way; Ray runs for real, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="edge-score needs the extra [ray]")

import pyarrow.parquet as pq

from benchmarks.scoring import processes_of
from edge_runtime import Predictor

WAIT_S = 120


@pytest.fixture
def archive(golden_images, tmp_path) -> Path:
    root = tmp_path / "archive"
    for number in range(60):
        path = root / f"{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(golden_images[number % len(golden_images)].read_bytes())
    (root / "broken.png").write_bytes(b"junk")
    return root


def command(archive: Path, out: Path, bundle: Path, *arguments: object) -> list[str]:
    given = (archive, "--out", out, "--model", bundle, "--workers", 2, "--part-images", 5, *arguments)
    return [sys.executable, "-m", "export.scoring.cli", *map(str, given)]


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / "parts").to_pylist()


def judged_once(archive: Path, out: Path) -> None:
    counts = Counter(row["path"] for row in rows(out))
    assert set(counts) == {str(path) for path in archive.rglob("*.png")}
    assert set(counts.values()) == {1}


def test_every_image_has_its_answer_or_its_reason(archive, tmp_path, tiny_bundle, require_schema):
    out = tmp_path / "results"
    done = subprocess.run(command(archive, out, tiny_bundle, "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    require_schema("edge-score-1", told)
    assert (told["images"], told["judged"], told["failed"], told["workers"]) == (61, 61, 1, 2)
    judged_once(archive, out)
    predictor = Predictor(tiny_bundle)
    for row in rows(out)[:12]:
        if row["path"].endswith("broken.png"):
            assert (row["error_code"], row["probability"], row["decision"]) == ("unsupported", None, None)
        else:
            expected = predictor.predict(row["path"])
            assert row["probability"] == pytest.approx(expected.probability, abs=1e-7)  # stored as float32
            assert (row["decision"], row["error_code"]) == (expected.decision, None)
    again = subprocess.run(command(archive, out, tiny_bundle, "--json"), capture_output=True, text=True)
    assert json.loads(again.stdout)["judged"] == 0


def wait_for(condition) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.parametrize("whom", ["worker", pytest.param("driver", marks=pytest.mark.slow)])
def test_nothing_is_lost_or_judged_twice_when_a_process_is_killed(archive, tmp_path, tiny_bundle, whom):
    out, own = tmp_path / "results", f"EDGE_TEST_SESSION={os.getpid()}"
    environment = {**os.environ, "EDGE_TEST_SESSION": str(os.getpid())}
    driver = subprocess.Popen(
        command(archive, out, tiny_bundle), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list((out / "parts").glob("part-*")) or driver.poll() is not None)
    if whom == "worker":
        for process in processes_of("ray::MapWorker", own)[:1]:
            os.kill(process, signal.SIGKILL)
        assert driver.wait(WAIT_S) == 0
    else:
        driver.kill()
        driver.wait()
        wait_for(lambda: not processes_of("raylet", own))  # it goes with its driver
        assert subprocess.run(command(archive, out, tiny_bundle), capture_output=True).returncode == 0
    judged_once(archive, out)
    assert [path.name for path in (out / "parts").iterdir() if not path.name.startswith("part-")] == []


@pytest.mark.parametrize("other", ["archive", "model", "folder"])
def test_results_of_something_else_are_left_alone(archive, tmp_path, tiny_bundle, other):
    from export.scoring.archive import Archive
    from export.scoring.plan import Plan, PlanFacts

    out = tmp_path / "results"
    plan, facts = Plan(out), PlanFacts(str(archive), "0" * 64, 5)
    if other == "folder":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    else:
        plan.open(facts, Archive(str(archive), {}).paths())
    before = sorted(path.name for path in out.rglob("*"))
    given = archive.parent if other == "archive" else archive
    done = subprocess.run(command(given, out, tiny_bundle), capture_output=True, text=True)
    assert done.returncode == 2 and "holds" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in out.rglob("*")) == before


@pytest.mark.slow
def test_results_that_cannot_be_written_are_a_storage_error(archive, tmp_path, tiny_bundle):
    out = tmp_path / "results"
    assert subprocess.run(command(archive, out, tiny_bundle), capture_output=True).returncode == 0
    shutil.rmtree(out / "parts")
    (out / "parts").write_text("a file where the folder should be")
    done = subprocess.run(command(archive, out, tiny_bundle), capture_output=True, text=True)
    assert done.returncode == 6 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_an_archive_without_images_leaves_no_folder(tmp_path, tiny_bundle):
    (tmp_path / "empty").mkdir()
    done = subprocess.run(command(tmp_path / "empty", tmp_path / "out", tiny_bundle), capture_output=True, text=True)
    assert done.returncode == 2 and "no images found" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["ray", "pyarrow", "fsspec"])
def test_without_its_extra_it_says_how_to_install_it(archive, tmp_path, tiny_bundle, missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from export.scoring.cli import main; main()"
    arguments = command(archive, tmp_path / "out", tiny_bundle)[3:]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 5 and 'pip install "fracture-edge[ray]"' in done.stderr
