"""Drift: days that part are found, days that do not are left alone, and page, metrics and log say the same."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from edge_runtime.bundle import open_model
from edge_runtime.serving.drift import FIRST, LEAST, TENTHS, Answers, Drift, parted, reference_in, reference_to_dict
from edge_runtime.serving.store import Store

MODEL = "ab" * 32
TODAY = datetime.now().astimezone().date().isoformat()
TRIES = 2000


def drawn(rng: np.random.Generator, shape: tuple[float, float], abstained: float, count: int) -> Answers:
    decided = rng.beta(*shape, rng.binomial(count, 1 - abstained))
    tenths = np.histogram(decided, TENTHS, (0, 1))[0]
    return Answers(tuple(int(one) for one in tenths), count - len(decided))


@pytest.mark.parametrize("count", [LEAST, 60, 200])
def test_days_like_the_reference_are_left_alone(count):
    rng = np.random.default_rng(1)
    reference = drawn(rng, (0.7, 1.5), 0.03, 400)
    found = sum(bool(parted(drawn(rng, (0.7, 1.5), 0.03, count), reference)) for _ in range(TRIES))
    assert found / TRIES < 0.02  # twice one in a thousand, and small shares of abstentions are not quite normal


def test_days_that_part_are_found_and_in_what():
    rng = np.random.default_rng(2)
    reference = drawn(rng, (0.7, 1.5), 0.03, 400)
    brighter = [parted(drawn(rng, (1.5, 0.7), 0.03, 60), reference) for _ in range(200)]
    assert sum("probability" in one for one in brighter) > 190
    withheld = [parted(drawn(rng, (0.7, 1.5), 0.30, 60), reference) for _ in range(200)]
    assert sum("abstained" in one for one in withheld) > 190


def test_images_that_part_are_found_though_their_answers_do_not():
    usual = Answers((40,) * 10, 0, (0, 0, 0, 200, 200, 0, 0, 0, 0, 0), (0, 200, 200, 0, 0, 0, 0, 0, 0, 0))
    darker = Answers((6,) * 10, 0, (60,) + (0,) * 9, (0, 30, 30, 0, 0, 0, 0, 0, 0, 0))
    flatter = Answers((6,) * 10, 0, (0, 0, 0, 30, 30, 0, 0, 0, 0, 0), (60,) + (0,) * 9)
    assert parted(darker, usual) == ("brightness",) and parted(flatter, usual) == ("contrast",)
    unknown = Answers((6,) * 10, 0)  # answers of an earlier release
    assert parted(unknown, usual) == () and parted(darker, unknown) == ()


def test_a_reference_is_read_as_it_was_written():
    written = reference_to_dict(Answers((1,) * 10, 2, (3,) * 10, (4,) * 10))
    assert reference_in({"answers": written}) == Answers((1,) * 10, 2, (3,) * 10, (4,) * 10)
    assert reference_in({"answers": written | {"brightness": [1] * 9}}) is None


def test_too_few_answers_tell_nothing():
    few = Answers((0,) * 9 + (LEAST - 1,), 0)
    many = Answers((500,) + (0,) * 9, 0)
    assert parted(few, many) == () and parted(many, Answers((0,) * TENTHS, 0)) == ()
    assert parted(Answers((0,) * 9 + (LEAST,), 0), many) == ("probability",)


@pytest.mark.parametrize(
    "answers",
    [None, 1, {}, {"tenths": [1] * 9, "abstained": 0}, {"tenths": [1] * 10}, {"tenths": [-1] * 10, "abstained": 0}],
)
def test_a_bundle_that_tells_no_reference_has_none(answers):
    assert reference_in({"answers": answers}) is None
    assert reference_in({"answers": {"tenths": [1] * 10, "abstained": 2}}) == Answers((1,) * 10, 2)


def fill(store: Store, day: str, probability: float, count: int, model: str = MODEL) -> None:
    for _ in range(count):
        record = {"decision": "fractured", "probability": probability, "model_sha256": model}
        store.answered("rest", day, record, None)


def test_the_first_answers_of_this_network_are_the_devices_own_reference(tmp_path):
    store, told = Store(tmp_path / "state"), []
    fill(store, "2026-01-01", 0.95, 50, "another")
    fill(store, "2026-01-01", 0.05, FIRST - 1)
    assert Drift(store, MODEL, None, told.append).today().reference == "none yet"
    fill(store, "2026-01-02", 0.05, 1)
    store.answered("rest", TODAY, {"error": {"code": "unreadable", "message": ""}}, None)
    fill(store, TODAY, 1.0, LEAST)
    drift = Drift(store, MODEL, None, told.append)
    report = drift.today()
    assert (report.reference, report.answers, report.tenths[9]) == ("device", LEAST, LEAST)
    assert report.parted == ("probability",) and drift.today() is report and len(told) == 1
    store.close()


def test_a_look_that_goes_on_from_the_last_one_counts_as_one_from_the_start(tmp_path):
    store, nobody = Store(tmp_path / "state"), lambda line: None
    drift, record = Drift(store, MODEL, None, nobody), {"probability": 0.55, "model_sha256": MODEL, "decision": "x"}
    fill(store, TODAY, 0.05, 3)
    waiting = store.add("dicom", TODAY, "an instance", None)
    fill(store, TODAY, 0.15, 2)
    assert drift._look(TODAY).tenths == (3, 2, *[0] * 8)
    fill(store, TODAY, 0.25, 1)
    assert drift._look(TODAY).tenths == (3, 2, 1, *[0] * 7)
    store.finish(waiting, record)  # after others with larger numbers
    fill(store, TODAY, 0.35, 4)
    assert drift._look(TODAY) == Drift(store, MODEL, None, nobody)._look(TODAY)
    assert drift._look(TODAY).tenths == (3, 2, 1, 4, 0, 1, *[0] * 4)
    fill(store, "2026-01-02", 0.95, 1)
    assert drift._look("2026-01-02").answers == 1
    store.close()


def test_page_metrics_and_log_say_it(start_server, tiny_bundle, tmp_path):
    store, model = Store(tmp_path / "state"), open_model(tiny_bundle).sha256
    fill(store, "2026-01-01", 0.05, FIRST, model)
    fill(store, TODAY, 0.95, LEAST, model)
    store.close()
    server = start_server()
    with server.client() as client:
        assert client.get("/v1/drift").json()["parted"] == ["probability"]
        metrics = client.get("/metrics").text
    assert 'edge_drift{of="probability"} 1' in metrics and 'edge_drift{of="abstained"} 0' in metrics
    assert any(line.startswith("drift: probability") for line in server.lines)
