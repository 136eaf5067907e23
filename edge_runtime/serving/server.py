"""The server as a process: sockets, TLS, the word to systemd, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_runtime.errors import DataError, GateError, StorageError
from edge_runtime.serving.access import LOOPBACK_NAMES, Access, RateLimit, host_of, is_loopback, read_token
from edge_runtime.serving.app import make_app
from edge_runtime.serving.bodies import Limits
from edge_runtime.serving.drift import Answers, Drift, reference_in
from edge_runtime.serving.folder import FolderSettings, FolderSource
from edge_runtime.serving.judging import Capacity, Judging
from edge_runtime.serving.kept import KeepSettings, Kept
from edge_runtime.serving.metrics import Metrics
from edge_runtime.serving.mqtt import Mqtt, MqttSettings
from edge_runtime.serving.node.peers import NodeSettings
from edge_runtime.serving.parts import Parts
from edge_runtime.serving.sending import Sender
from edge_runtime.serving.store import Store
from edge_runtime.serving.webhook import Webhook, WebhookSettings

if TYPE_CHECKING:
    from edge_runtime.predictor import Predictor

HEAD_S = 10.0  # that a client has for the head of a request
KEEP_ALIVE_S = 15  # that a connection may stay open without a request
_CONNECTIONS = 512  # at once; each idle one costs a few kB
_DRAIN_S = 30  # for requests under way, once the end was asked for
_ANSWERED_BY = "answered by"  # name of the fact that says which engine and system the golden images were judged on

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ServeSettings:
    """One server."""

    state: Path  # folder of the store
    host: str = "127.0.0.1"  # address to listen on
    port: int = 8080  # 0 takes a free one
    names: tuple[str, ...] = ()  # further names under which it is called
    token_file: Path | None = None  # holds what programs and people have to show
    certificate: Path | None = None  # of TLS, PEM
    key: Path | None = None  # of the certificate, PEM
    show_identifiers: bool = False  # keep and show names and times
    accept_engine: bool = False  # although golden images are answered otherwise than before
    requests_per_second: float = 50.0  # from one address
    capacity: Capacity = field(default_factory=Capacity)
    limits: Limits = field(default_factory=Limits)
    node: NodeSettings | None = None  # the DICOM node beside the page; None: there is none
    folder: FolderSettings | None = None  # a folder that is watched too; None: there is none
    keep: KeepSettings | None = None  # how long images are kept; None: none is
    webhook: WebhookSettings | None = None  # who is told of each answer by HTTP; None: nobody
    mqtt: MqttSettings | None = None  # who is told by MQTT; None: nobody


def check(settings: ServeSettings) -> Access:
    """The rules of access, before anything slow begins.

    Raises:
        DataError: the settings would let anyone in, or do not fit together.
        StorageError: the token cannot be read.
    """
    if settings.token_file is None and not is_loopback(settings.host):
        raise DataError(
            f"--host {settings.host}: others could ask; give --token-file FILE, such as of: openssl rand -hex 16"
        )
    if (settings.certificate is None) != (settings.key is None):
        raise DataError("--tls-certificate and --tls-key belong together")
    names = {*LOOPBACK_NAMES, host_of(settings.host), *(host_of(name) for name in settings.names)}
    names |= {name.lower() for name in (socket.gethostname(), f"{socket.gethostname()}.local")}
    token = None if settings.token_file is None else read_token(settings.token_file)
    if settings.node is not None:
        settings.node.check()
    for part in (settings.folder, settings.webhook, settings.mqtt):
        if part is not None:
            part.check()
    return Access(frozenset(names), token)


def serve(settings: ServeSettings, predictor: Predictor, tell: Tell) -> None:
    """Answers until SIGTERM or SIGINT comes, then finishes what is under way.

    Raises:
        DataError: the settings do not fit together.
        GateError: since the last start another engine or system gives other answers to the golden images.
        StorageError: the store or the port cannot be used.
    """
    access = check(settings)
    store = Store(settings.state)
    try:
        settle_engine(store, predictor, settings.accept_engine, tell)
        judging = Judging(predictor, settings.capacity)
        drift = Drift(store, predictor.model.sha256, _usual_answers(predictor), tell)
        kept = None if settings.keep is None else Kept(store, settings.keep, tell)
        parts = Parts(judging, store, Metrics(), drift, settings.limits, settings.show_identifiers, kept)
        app = make_app(parts, access, RateLimit(settings.requests_per_second, 2 * settings.requests_per_second))
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_listening(settings))
            if kept is not None:
                stack.enter_context(_running(kept))
            for sender in _senders(settings, parts, tell):
                stack.enter_context(_running(sender))
            stack.enter_context(_node(settings, parts, tell))
            if settings.folder is not None:
                stack.enter_context(_running(FolderSource(settings.folder, parts, tell)))
            _Server(_config(settings, app), _url(settings, listener), tell).run(sockets=[listener])
        judging.drain()
    finally:
        store.close()


def _usual_answers(predictor: Predictor) -> Answers | None:
    """Those that the bundle tells; None where it tells none, or the network is a single file."""
    from edge_runtime.bundle import MANIFEST, read_manifest

    bundle = predictor.model.path.parent
    return reference_in(read_manifest(bundle)) if (bundle / MANIFEST).is_file() else None


@contextlib.contextmanager
def _node(settings: ServeSettings, parts: Parts, tell: Tell) -> Any:
    """The DICOM node, where there is to be one, until the block ends."""
    if settings.node is None:
        yield
        return
    from edge_runtime.serving.node.node import Node

    node = Node(settings.node, parts, tell)
    node.start()
    try:
        yield
    finally:
        node.stop()


def _senders(settings: ServeSettings, parts: Parts, tell: Tell) -> list[Sender]:
    """Those who tell others of each answer."""
    senders: list[Sender] = []
    if settings.webhook is not None:
        senders.append(Webhook(parts.store, settings.webhook, settings.webhook.check(), tell))
    if settings.mqtt is not None:
        spec = parts.judging.predictor.model.spec
        senders.append(Mqtt(parts.store, settings.mqtt.check(), spec.name if settings.mqtt.discovery else None, tell))
    return senders


@contextlib.contextmanager
def _running(part: Sender | FolderSource | Kept) -> Iterator[None]:
    """A thread, from its start to its end."""
    part.start()
    try:
        yield
    finally:
        part.stop()


def settle_engine(store: Store, predictor: Predictor, accept: bool, tell: Tell) -> None:
    """Judges the golden images again where engine, Python, system or network are not those of the last start.

    Raises:
        GateError: a decision changed, and was not accepted.
    """
    bundle = predictor.model.path.parent
    found = "; ".join(
        (
            f"{predictor.engine.name} {predictor.engine.version}",
            f"Python {platform.python_version()}",
            f"{platform.system()} {platform.release()} {platform.machine()}",
            f"{predictor.model.path.name} {predictor.model.sha256}",
        )
    )
    if store.fact(_ANSWERED_BY) == found or not (bundle / "golden").is_dir():
        return
    from edge_runtime.self_test import run_self_test

    engine = predictor.engine.name
    results = [one for one in run_self_test(bundle, None, engine) if one.file == predictor.model.path.name]
    changed = [one for one in results if not one.passed]
    if changed and not accept:
        raise GateError(
            f"{found}: the golden images are not answered as on the machine that exported the network "
            f"(largest difference {changed[0].largest_difference:.4f}, decisions changed "
            f"{changed[0].decisions_changed}); look at edge-infer --self-test, then start with --accept-engine"
        )
    tell(f"golden images judged by {found}: {'accepted' if changed else 'as they should be'}")
    store.keep_fact(_ANSWERED_BY, found)


class _Protocol(H11Protocol):
    """HTTP/1.1, closing connections whose request head does not arrive: they would fill the table of connections."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head = asyncio.get_running_loop().call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """Tells people and systemd when it is ready, and systemd that it is alive."""

    def __init__(self, config: uvicorn.Config, url: str, tell: Tell) -> None:
        super().__init__(config)
        self._url, self._tell = url, tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell(f"serving {self._url}")
        notify("READY=1")

    def handle_exit(self, sig: int, frame: Any) -> None:
        if sig == signal.SIGTERM:
            self.should_exit = True  # the clean end of a service; Uvicorn would raise the signal once more at the end
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        # Ten ticks a second, from the loop that answers: where it hangs, systemd starts the service again.
        if counter % 100 == 0:
            notify("WATCHDOG=1")
        return bool(await super().on_tick(counter))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        await super().shutdown(sockets)


def notify(message: str) -> None:
    """Tells systemd (sd_notify(3)); nothing where it did not start this process."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(message.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def _config(settings: ServeSettings, app: Any) -> uvicorn.Config:
    certificates: dict[str, Any] = {}
    if settings.certificate is not None:
        certificates = {"ssl_certfile": settings.certificate, "ssl_keyfile": settings.key}
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=16 << 10,
        **certificates,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise StorageError(f"{settings.certificate}: the certificate or its key cannot be used: {error}") from error
    return config


@contextlib.contextmanager
def _listening(settings: ServeSettings) -> Any:
    """A listening socket: systemd's where it gives one (sd_listen_fds(3)), else one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        listener = socket.socket(fileno=3)
    else:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms for an ACK.
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(_CONNECTIONS)
        except OSError as error:
            listener.close()
            raise StorageError(f"{settings.host}:{settings.port}: cannot listen there: {error.strerror}") from error
    with listener:
        yield listener


def _url(settings: ServeSettings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http{'s' if settings.certificate else ''}://{host}:{listener.getsockname()[1]}"
