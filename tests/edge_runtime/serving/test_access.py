"""Who may ask: tokens, names of the server, pages of other sites; and that nobody can by mistake."""

from __future__ import annotations

import subprocess

import pytest

from edge_runtime.serving.access import Access, RateLimit, host_of, is_loopback, read_token
from edge_runtime.serving.server import ServeSettings, check

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def test_with_a_token_only_who_shows_it_is_answered(start_server, token_file, golden_images):
    server = start_server("--token-file", token_file)
    content = golden_images[0].read_bytes()
    with server.client() as client:
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            refused = client.post("/v1/predict", content=content, headers=shown)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert client.get("/v1/results", headers=shown).status_code == 401
            assert client.get("/metrics", headers=shown).status_code == 401
        assert client.get("/").status_code == client.get("/v1/health").status_code == 200
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/predict", content=content, headers=right).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # a foreign name that was made to point here
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_sites_and_foreign_names_are_refused(server, golden_images, headers, status):
    with server.client() as client:
        answer = client.post("/v1/predict", content=golden_images[0].read_bytes(), headers=headers)
        assert answer.status_code == status
        assert client.get("/v1/health").json()["waiting"] == 0


def test_every_answer_forbids_what_the_page_does_not_need(server):
    with server.client() as client:
        for path in ("/", "/app.js", "/v1/health", "/nowhere"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--host", "0.0.0.0"), 2, "--token-file"),
        (("--host", "192.0.2.1"), 2, "--token-file"),
        (("--tls-key", "x.pem"), 2, "belong together"),
        (("--token-file", "missing"), 6, "cannot be read"),
    ],
)
def test_settings_that_would_let_anyone_in_are_refused(tiny_bundle, tmp_path, arguments, code, words):
    from .conftest import command

    done = subprocess.run(command(tiny_bundle, tmp_path, *arguments), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr


def test_a_token_others_may_read_or_guess_is_refused(tmp_path, token_file):
    token_file.chmod(0o644)
    with pytest.raises(Exception, match="chmod 600"):
        read_token(token_file)
    token_file.chmod(0o600)
    token_file.write_text("short")
    with pytest.raises(Exception, match="16 characters"):
        read_token(token_file)


@pytest.mark.parametrize(
    ("authority", "host"),
    [("localhost:8080", "localhost"), ("[::1]:8080", "::1"), ("::1", "::1"), ("Pi.Local", "pi.local"), ("", "")],
)
def test_hosts_are_told_without_their_port(authority, host):
    assert host_of(authority) == host


def test_only_loopback_needs_no_token():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "pi.local", "127.evil.example"))
    assert check(ServeSettings(state=None)).names >= {"localhost", "127.0.0.1", "::1"}


def test_an_address_may_ask_again_once_time_has_passed():
    limit = RateLimit(per_second=1000.0, burst=2.0)
    assert limit.take("a") and limit.take("a") and limit.take("b")
    slow = RateLimit(per_second=0.001, burst=1.0)
    assert slow.take("a") and not slow.take("a") and slow.take("b")


def test_a_token_is_compared_as_a_whole():
    import hashlib

    access = Access(frozenset({"pi"}), hashlib.sha256(TOKEN.encode()).digest())
    for shown in (TOKEN[:-1], TOKEN + "x", "", "\udcff"):
        assert access.refuse({"host": "pi", "authorization": f"Bearer {shown}"}, True).status == 401
    assert access.refuse({"host": "pi", "authorization": f"bearer {TOKEN}"}, True) is None


def test_https_answers_with_the_given_certificate(start_server, tmp_path, golden_images):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost")
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = start_server("--tls-certificate", certificate, "--tls-key", key)
    assert server.url.startswith("https://")
    with server.client() as client:
        assert client.post("/v1/predict", content=golden_images[0].read_bytes()).status_code == 200
