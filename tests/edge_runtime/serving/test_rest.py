"""The REST interface answers as edge-infer does, takes no more than it said it would, and loses nothing at its end."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.serving.store import Store

TIMES = {"milliseconds", "id"}  # what differs between two answers to one image


def without_times(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in TIMES}


def test_the_answer_is_that_of_edge_infer(server, tiny_bundle, golden_images):
    predictor = Predictor(tiny_bundle)
    with server.client() as client:
        for path in golden_images:
            answer = client.post("/v1/predict", content=path.read_bytes())
            assert answer.status_code == 200
            expected = json.loads(json.dumps(predictor.predict(path.read_bytes()).to_dict()))
            assert without_times(answer.json()) == without_times(expected)


def test_a_form_is_answered_as_a_body_is(server, golden_images):
    content = golden_images[0].read_bytes()
    with server.client() as client:
        as_form = client.post("/v1/predict", files={"image": ("x.png", content)}).json()
        as_body = client.post("/v1/predict", content=content).json()
    assert as_form["probability"] == as_body["probability"]
    assert as_body["id"] == as_form["id"] + 1


def test_many_clients_at_once_each_get_their_own_answer(server, tiny_bundle, golden_images):
    predictor = Predictor(tiny_bundle)
    expected = {path: predictor.predict(path).probability for path in golden_images}
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        asked = golden_images * 12
        answers = pool.map(lambda path: client.post("/v1/predict", content=path.read_bytes()).json(), asked)
        assert [answer["probability"] for answer in answers] == [expected[path] for path in asked]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 400, "http_400"), (b"no image", 422, "unsupported"), (b"\x89PNG\r\n\x1a\n", 422, None)],
)
def test_what_is_no_image_gets_a_reason(server, content, status, code):
    with server.client() as client:
        answer = client.post("/v1/predict", content=content)
        assert answer.status_code == status
        assert code in (None, answer.json()["error"]["code"])
        assert client.get("/v1/health").json()["waiting"] == 0


@pytest.mark.parametrize("form", [{"picture": ("x.png", b"x")}, {"image": (None, "text")}])
def test_a_form_without_an_image_gets_a_reason(server, form):
    with server.client() as client:
        answer = client.post("/v1/predict", files=form)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "http_400")


def blocks(count: int, size: int, pause_s: float = 0.0):
    for _ in range(count):
        time.sleep(pause_s)
        yield b"x" * size


def test_what_is_too_large_is_refused_whether_it_tells_its_size_or_not(start_server):
    server = start_server("--max-megabytes", 1)
    with server.client() as client:
        assert client.post("/v1/predict", content=b"x" * (2 << 20)).status_code == 413
        assert client.post("/v1/predict", content=blocks(40, 1 << 16)).status_code == 413
        files = {"image": ("x", b"x" * (2 << 20))}
        assert client.post("/v1/predict", files=files).status_code == 413
        assert client.get("/v1/health").json()["waiting"] == 0


def test_a_full_queue_says_so_and_takes_the_next_one_later(start_server, golden_images):
    server = start_server("--queue", 1)
    content = golden_images[0].read_bytes()
    with server.client() as client, server.client() as slow:
        sender = threading.Thread(target=slow.post, args=("/v1/predict",), kwargs={"content": blocks(20, 10, 0.1)})
        sender.start()
        while client.get("/v1/health").json()["waiting"] == 0:
            time.sleep(0.01)
        full = client.post("/v1/predict", content=content)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        sender.join()
        assert client.post("/v1/predict", content=content).status_code == 200


def test_too_many_requests_from_one_address_are_held_back(start_server, golden_images):
    server = start_server("--rate", 1)
    with server.client() as client:
        statuses = [client.post("/v1/predict", content=golden_images[0].read_bytes()).status_code for _ in range(6)]
        assert statuses[:2] == [200, 200] and 429 in statuses
        assert client.get("/v1/health").status_code == 200
        assert 'edge_refused_requests_total{status="429"}' in client.get("/metrics").text


def test_idle_connections_keep_nobody_from_an_answer(server, golden_images):
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(60)]
    for one in idle[:30]:
        one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n")  # a head that does not end
    try:
        with server.client() as client:
            assert client.post("/v1/predict", content=golden_images[0].read_bytes()).status_code == 200
    finally:
        for one in idle:
            one.close()


@pytest.mark.slow
def test_a_head_that_does_not_end_is_given_up(server):
    import socket

    from edge_runtime.serving.server import HEAD_S

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=3 * HEAD_S) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\n")
        assert connection.recv(1) == b""


def test_results_are_listed_searched_and_saved(start_server, golden_images, tmp_path):
    server = start_server("--show-identifiers")
    content = golden_images[0].read_bytes()
    with server.client() as client:
        first = client.post("/v1/predict", files={"image": ("=SUM(A1).png", content)}).json()
        client.post("/v1/predict", content=b"no image")
        items = client.get("/v1/results").json()["items"]
        assert [item["state"] for item in items] == ["failed", "answered"]  # newest first
        assert items[1]["result"]["probability"] == first["probability"]
        assert [item["id"] for item in client.get("/v1/results?search=sum").json()["items"]] == [first["id"]]
        assert client.get("/v1/results?below=2").json()["items"] == items[1:]
        rows = list(csv.DictReader(io.StringIO(client.get("/v1/results.csv").text)))
        assert [row["name"] for row in rows] == ["", "'=SUM(A1).png"]  # no formula for a spreadsheet
        assert client.get("/v1/results?day=yesterday").status_code == 400
    assert server.stop() == 0
    with start_server("--show-identifiers").client() as client:  # a new process remembers
        assert client.get("/v1/results").json()["items"] == items


def test_names_are_kept_nowhere_unless_they_are_to_be_shown(server, golden_images, tmp_path):
    with server.client() as client:
        client.post("/v1/predict", files={"image": ("Doe_Jane.png", golden_images[0].read_bytes())})
        (item,) = client.get("/v1/results").json()["items"]
        assert item["identifiers"] is None
    assert server.stop() == 0
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"Doe" not in kept and not any(b"Doe" in line.encode() for line in server.lines)


def test_a_picture_is_what_the_reader_saw(server, tmp_path, radiograph_u8):
    path = tmp_path / "x.tif"
    Image.fromarray(radiograph_u8).save(path)
    with server.client() as client:
        answer = client.post("/v1/picture", content=path.read_bytes())
        assert answer.headers["content-type"] == "image/png"
        assert Image.open(io.BytesIO(answer.content)).tobytes() == radiograph_u8.tobytes()
        assert client.post("/v1/picture", content=b"no image").status_code == 422


def test_the_end_waits_for_what_is_under_way(server, golden_images):
    content = golden_images[0].read_bytes()

    def parts():
        yield content[:100]
        time.sleep(1.0)
        yield content[100:]

    with server.client() as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/v1/predict", content=parts())
        with server.client() as other:
            while other.get("/v1/health").json()["waiting"] == 0:
                time.sleep(0.01)
        assert server.stop() == 0
        assert answer.result().status_code == 200


def test_metrics_count_every_answer(server, golden_images):
    with server.client() as client:
        for path in golden_images:
            client.post("/v1/predict", content=path.read_bytes())
        text = client.get("/metrics").text
    counted = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("edge_answers_total{")]
    assert sum(counted) == len(golden_images)
    assert f"edge_answer_seconds_count {len(golden_images)}" in text


def test_the_interface_describes_every_path(server):
    with server.client() as client:
        document = client.get("/openapi.json").json()
        for path, verbs in document["paths"].items():
            for verb in verbs:
                assert client.request(verb, path).status_code in {200, 400}


def test_a_day_of_more_items_than_one_answer_holds_is_searched_and_saved_whole(start_server, tmp_path):
    store, today = Store(tmp_path / "state"), datetime.now().astimezone().date().isoformat()
    for number in range(502):
        store.answered("rest", today, {"decision": "abstain" if number == 0 else "fractured"}, None)
    store.close()
    with start_server().client() as client:
        assert len(client.get("/v1/results").json()["items"]) == 500
        (oldest,) = client.get("/v1/results", params={"search": "abstain"}).json()["items"]
        assert oldest["id"] == 1
        assert len(client.get("/v1/results.csv").text.splitlines()) == 503


def test_an_error_names_no_file_that_nobody_gave(server):
    with server.client() as client:
        for path in ("/v1/predict", "/v1/picture"):
            message = client.post(path, content=b"no image").json()["error"]["message"]
            assert message.startswith("not an image"), message
