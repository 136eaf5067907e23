"""Answers are told to others: webhook and MQTT, against real receivers, and never lost though these are away."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime.serving.cli import main
from edge_runtime.serving.store import Store
from edge_runtime.serving.webhook import WebhookSettings, signature
from tests.edge_runtime.serving.node.peers import free_port, wait_until

SECRET = "0123456789abcdef0123456789abcdef"


class Receiver:
    """A program that is told: a real HTTP server, which gives the statuses that it is given, and then 204."""

    def __init__(self, port: int, statuses: list[int]) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(statuses.pop(0) if statuses else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)

    def told(self) -> list[int]:
        return [json.loads(body)["data"]["id"] for _, body in self.requests]


@contextmanager
def receiver(port: int, *statuses: int) -> Iterator[Receiver]:
    found = Receiver(port, list(statuses))
    thread = threading.Thread(target=found.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def webhook(port: int, secret: Path) -> tuple[object, ...]:
    return ("--webhook", f"http://127.0.0.1:{port}/told?x=1", "--webhook-secret-file", secret)


def judge(server, image: Path) -> int:
    with server.client() as client:
        return client.post("/v1/predict", content=image.read_bytes()).json()["id"]


def test_a_webhook_is_signed_and_told_again_until_it_takes_it(start_server, golden_images, secret):
    port = free_port()
    with receiver(port, 500) as other:
        server = start_server(*webhook(port, secret))
        number = judge(server, golden_images[0])
        wait_until(lambda: len(other.requests) == 2)
        with server.client() as client:
            wait_until(lambda: 'edge_untold_answers{channel="webhook"} 0' in client.get("/metrics").text)
        assert server.stop() == 0
    assert other.told() == [number, number] and len({head["webhook-id"] for head, _ in other.requests}) == 1
    for head, body in other.requests:
        message = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        digest = base64.b64encode(hmac.digest(SECRET.encode(), message, hashlib.sha256)).decode()
        assert head["webhook-signature"] == f"v1,{digest}"
        assert abs(int(head["webhook-timestamp"]) - time.time()) < 60
        told = json.loads(body)
        assert told["type"] == "image.answered" and told["data"]["result"]["decision"] in ("fractured", "not fractured")
    assert sum("kept and sent again" in line for line in server.lines) == 1


def test_the_example_of_the_standard_is_signed_as_it_says():
    # https://github.com/standard-webhooks/standard-webhooks, its first test.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    given = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert given == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.slow
def test_no_answer_is_lost_though_receiver_and_server_come_and_go(start_server, golden_images, secret, tmp_path):
    port, judged = free_port(), []
    for _ in range(3):  # nobody listens
        server = start_server(*webhook(port, secret))
        judged += [judge(server, image) for image in golden_images[:4]]
        server.process.kill()
        server.process.wait()
    with receiver(port, 503, 404, 429) as other:
        server = start_server(*webhook(port, secret))
        judged.append(judge(server, golden_images[4]))
        wait_until(lambda: set(other.told()) >= set(judged))
        store = Store(tmp_path / "state")
        wait_until(lambda: store.undelivered("webhook") == [])
        store.close()
        server.stop()
    taken = other.told()[3:]
    assert sorted(taken) == sorted(judged)  # once each, but for the three that were refused


@pytest.mark.parametrize(
    "arguments",
    [
        ["--webhook", "http://x/"],
        ["--webhook-secret-file", "secret"],
        ["--webhook", "ftp://x/", "--webhook-secret-file", "secret"],
        ["--webhook", "http://name:word@x/", "--webhook-secret-file", "secret"],
        ["--webhook", "http://x:port/", "--webhook-secret-file", "secret"],
        ["--mqtt", "http://x"],
        ["--mqtt", "mqtt://x/a/#"],
        ["--mqtt", "mqtt://name:word@x"],
        ["--mqtt", "mqtt://name@x"],
        ["--mqtt-discovery"],
    ],
)
def test_settings_that_make_no_sense_are_refused(tiny_bundle, tmp_path, secret, arguments):
    given = [str(secret) if one == "secret" else one for one in arguments]
    done = CliRunner().invoke(main, ["--model", str(tiny_bundle), "--state", str(tmp_path / "state"), *given])
    assert done.exit_code == 2 and done.output.strip(), done.output


def test_a_secret_may_be_base64_as_other_programs_make_them(tmp_path):
    path = tmp_path / "secret"
    path.write_text("whsec_" + base64.b64encode(b"x" * 24).decode())
    path.chmod(0o600)
    assert WebhookSettings("https://example.org/x", path).check() == b"x" * 24


@contextmanager
def broker(folder: Path, port: int) -> Iterator[None]:
    """Debian's mosquitto, with a name and a password."""
    found = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
    if found is None or shutil.which("mosquitto_sub") is None:
        pytest.skip("SKIPPED LOUDLY: mosquitto is not installed (Debian: apt install mosquitto mosquitto-clients)")
    words = folder / "words"
    if not words.exists():
        subprocess.run(["mosquitto_passwd", "-b", "-c", words, "edge", SECRET], check=True)
    (folder / "broker.conf").write_text(f"listener {port} 127.0.0.1\nuser root\npassword_file {words}\n")
    process = subprocess.Popen([found, "-c", folder / "broker.conf"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def listening(port: int, topic: str) -> Iterator[Callable[[], list[str]]]:
    """mosquitto_sub: the lines that it got, `TOPIC MESSAGE`."""
    given = ["mosquitto_sub", "-p", port, "-t", topic, "-v", "-u", "edge", "-P", SECRET, "-q", 1]
    process = subprocess.Popen(list(map(str, given)), stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    got: list[str] = []

    def read() -> None:
        with process.stdout as stream:
            got.extend(iter(stream.readline, ""))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lambda: list(got)
    finally:
        process.terminate()
        process.wait(30)
        reader.join()


def test_mqtt_bears_answers_and_whether_the_device_is_there(start_server, golden_images, secret, tmp_path):
    port = free_port()
    given = ("--mqtt", f"mqtt://edge@127.0.0.1:{port}/ward/3", "--mqtt-password-file", secret, "--mqtt-discovery")
    server = start_server(*given)  # before its broker
    first = judge(server, golden_images[0])
    wait_until(lambda: any("cannot be reached" in line for line in server.lines))
    with broker(tmp_path, port):
        wait_until(lambda: any("is there again" in line for line in server.lines))
        with listening(port, "#") as got:
            wait_until(lambda: any(line == "ward/3/status online\n" for line in got()))
            second = judge(server, golden_images[1])
            wait_until(lambda: any(line.startswith("ward/3/answers") for line in got()))
            configs = [json.loads(line.partition(" ")[2]) for line in got() if line.startswith("homeassistant/")]
            assert {one["state_topic"] for one in configs} == {"ward/3/answers"} and len(configs) == 2
            told = [json.loads(line.partition(" ")[2]) for line in got() if line.startswith("ward/3/answers")]
            assert [one["id"] for one in told] == [second] and first < second  # the first came before we listened
            server.process.kill()  # without a word: the broker says it
            wait_until(lambda: "ward/3/status offline\n" in got())
    store = Store(tmp_path / "state")
    assert store.undelivered("mqtt") == []
    store.close()


def test_a_broker_that_refuses_us_is_told_and_nothing_is_lost(start_server, golden_images, tmp_path):
    wrong, port = tmp_path / "wrong", free_port()
    wrong.write_text("another word altogether")
    wrong.chmod(0o600)
    with broker(tmp_path, port):
        server = start_server("--mqtt", f"mqtt://edge@127.0.0.1:{port}", "--mqtt-password-file", wrong)
        number = judge(server, golden_images[0])
        wait_until(lambda: any("refused: Not authorized" in line for line in server.lines))
        assert server.stop() == 0
    store = Store(tmp_path / "state")
    assert [one.item for one in store.undelivered("mqtt")] == [number]
    store.close()
