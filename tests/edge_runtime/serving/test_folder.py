"""edge-serve --watch: a folder is one more source of the same queue; its results file is an export of the store."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.json_lines import encode_line
from edge_runtime.serving.cli import main
from edge_runtime.serving.drift import Drift
from edge_runtime.serving.folder import FolderSettings, FolderSource
from edge_runtime.serving.judging import Capacity, Judging
from edge_runtime.serving.metrics import Metrics
from edge_runtime.serving.parts import Limits, Parts
from edge_runtime.serving.store import Store
from edge_runtime.watching.arrivals import Patience, line_of
from edge_runtime.watching.folder import look

SHIPPED = Path(__file__).parents[3] / "edge_runtime" / "model"  # has a heatmap
PATIENCE_S = 60


def lines(path: Path) -> list[dict]:
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def names(path: Path) -> list[str]:
    return sorted(Path(line["path"]).name for line in lines(path))


def wait_for(path: Path, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(lines(path)) < count:
        assert time.monotonic() < end, names(path)
        time.sleep(0.05)


def watching(inbox: Path, results: Path) -> tuple[object, ...]:
    inbox.mkdir(exist_ok=True)
    return ("--watch", inbox, "--results", results, "--poll", 0.05, "--settle", 0.2)


def test_what_an_earlier_watcher_judged_is_taken_in_and_the_rest_judged_once(
    start_server, tiny_bundle, golden_images, tmp_path
):
    inbox, results, state = tmp_path / "inbox", tmp_path / "results.jsonl", tmp_path / "state"
    arguments = watching(inbox, results)
    for path in golden_images[:3]:
        shutil.copy(path, inbox)
    (inbox / "letter.txt").write_text("no image")
    earlier = inbox / golden_images[0].name
    before = encode_line(line_of(look(str(earlier)), {"path": str(earlier), "decision": "fractured", "probability": 1}))
    results.write_bytes(before)

    server = start_server(*arguments)
    wait_for(results, 4)
    with server.client() as client:
        items = client.get("/v1/results").json()["items"]
        assert 'edge_answers_total{source="folder",decision="error"} 1' in client.get("/metrics").text
    assert server.stop() == 0
    assert any("1 answers of an earlier watcher taken in" in line for line in server.lines)
    assert results.read_bytes().startswith(before)
    assert names(results) == sorted([*(path.name for path in golden_images[:3]), "letter.txt"])
    predictor = Predictor(tiny_bundle)
    for line in lines(results)[1:]:
        if "error" not in line:
            expected = predictor.predict(line["path"]).to_dict()
            assert {**line, "milliseconds": 0, "file": 0} == {**expected, "milliseconds": 0, "file": 0}
    assert Counter(item["state"] for item in items) == {"answered": 3, "failed": 1}
    assert {item["source"] for item in items} == {"folder"} and all(item["identifiers"] is None for item in items)
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"letter" not in kept and golden_images[1].name.encode() not in kept  # names are in the results file alone

    # The store remembers, though the export is gone: what comes goes to a new one.
    results.unlink()
    shutil.copy(golden_images[3], inbox)
    server = start_server(*arguments)
    wait_for(results, 1)
    time.sleep(0.3)
    results.unlink()  # and while it runs
    shutil.copy(golden_images[4], inbox)
    wait_for(results, 1)
    server.stop()
    assert names(results) == [golden_images[4].name]


def test_sidecars_bear_answer_and_heatmap_and_are_not_judged(start_server, tmp_path):
    inbox, results = tmp_path / "inbox", tmp_path / "results.jsonl"
    arguments = watching(inbox, results)
    image = Image.effect_noise((64, 48), 60)
    image.save(inbox / "x.png")
    os.utime(inbox / "x.png", (1, 1))  # the older is judged first
    image.save(inbox / "x.bmp")
    (inbox / "x.png").chmod(0o640)
    server = start_server(*arguments, "--sidecars", bundle=SHIPPED)
    wait_for(results, 2)
    time.sleep(0.3)
    assert server.stop() == 0
    found = sorted(path.name for path in inbox.iterdir())
    assert found == sorted(
        ["x.png", "x.bmp", "x.result.json", "x.heatmap.png", "x.bmp.result.json", "x.bmp.heatmap.png"]
    )
    assert lines(inbox / "x.result.json") == [line for line in lines(results) if line["path"].endswith("x.png")]
    with Image.open(inbox / "x.heatmap.png") as picture:
        assert picture.width == 64 and picture.height > 48
    assert stat.S_IMODE((inbox / "x.heatmap.png").stat().st_mode) == 0o640


@pytest.fixture
def parts(tiny_bundle, tmp_path):
    predictor, store = Predictor(tiny_bundle), Store(tmp_path / "state")
    drift = Drift(store, predictor.model.sha256, None, lambda line: None)
    judging = Judging(predictor, Capacity())
    yield Parts(judging, store, Metrics(), drift, Limits(), show_identifiers=False)
    judging.drain()
    store.close()


@pytest.mark.parametrize("was_written", [False, True])
def test_a_kill_between_answer_and_line_neither_loses_nor_doubles_it(parts, golden_images, tmp_path, was_written):
    inbox, results = tmp_path / "inbox", tmp_path / "results.jsonl"
    inbox.mkdir()
    image = Path(shutil.copy(golden_images[0], inbox))
    seen = look(str(image))
    line = encode_line(line_of(seen, {"path": str(image), "decision": "fractured", "probability": 1.0})).decode()
    key = f"folder:{seen.fingerprint:016x}"
    parts.store.answered("folder", "2026-01-02", {"path": "-"}, None, key, ("results", line))
    results.write_text(line if was_written else "")
    source = FolderSource(FolderSettings(inbox, results), parts, lambda text: None)
    source.start()
    wait_for(results, 1)
    source.stop()
    assert results.read_text() == line and parts.store.undelivered("results") == []
    assert len(parts.store.of_day("2026-01-02", 10)) == 1


def test_an_error_keeps_its_words_but_not_the_name_of_the_file(parts, tmp_path):
    (tmp_path / "inbox").mkdir()
    bad = tmp_path / "inbox" / "Mueller.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50 + b"IEND\xaeB`\x82")
    results = tmp_path / "results.jsonl"
    settings = FolderSettings(tmp_path / "inbox", results, patience=Patience(0.05, 0.1))
    source = FolderSource(settings, parts, lambda text: None)
    source.start()
    wait_for(results, 1)
    source.stop()
    (line,) = lines(results)
    (item,) = parts.store.of_day(datetime.now().astimezone().date().isoformat(), 10)
    assert line["path"] == str(bad) and item.record["path"] == "-"
    assert item.record["error"] == {**line["error"], "message": line["error"]["message"].replace(str(bad), "-")}


@pytest.mark.parametrize(
    "arguments",
    [["--results", "x.jsonl"], ["--sidecars"], ["--watch", ".", "--results", "x.png"], ["--watch", "/nowhere"]],
)
def test_options_that_make_no_sense_are_refused(tiny_bundle, tmp_path, arguments):
    given = ["--model", str(tiny_bundle), "--state", str(tmp_path), *arguments]
    assert CliRunner().invoke(main, given).exit_code == 2


def test_two_watchers_do_not_share_a_results_file(start_server, tiny_bundle, tmp_path, edge_infer_process):
    inbox, results = tmp_path / "inbox", tmp_path / "results.jsonl"
    start_server(*watching(inbox, results))
    done = edge_infer_process("--model", tiny_bundle, "--watch", inbox, "--out", results)
    assert done.returncode == 6 and b"another" in done.stderr


@pytest.mark.slow
def test_images_are_judged_once_though_it_is_killed_again_and_again(start_server, golden_images, tmp_path):
    inbox, results, state = tmp_path / "inbox", tmp_path / "results.jsonl", tmp_path / "state"
    arguments = watching(inbox, results)
    for number in range(120):
        shutil.copy(golden_images[number % len(golden_images)], inbox / f"{number:03d}.png")
    chance = random.Random(5)
    for _ in range(6):
        server = start_server(*arguments)
        time.sleep(chance.uniform(0.2, 0.6))
        server.process.kill()
        server.process.wait()
    server = start_server(*arguments)
    wait_for(results, 120)
    time.sleep(0.5)
    assert server.stop() == 0
    assert names(results) == [f"{number:03d}.png" for number in range(120)]
    store = Store(state)
    assert len(list(store.keys("folder"))) == 120
    store.close()
