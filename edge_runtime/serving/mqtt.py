"""Publishes each answer by MQTT 3.1.1 with quality of service 1: struck off once the broker has said that it has it.

`TOPIC/answers` bears the answers, `TOPIC/status` says `online`, and `offline` once the connection is lost (retained,
the broker's own word by a last will). On wish Home Assistant is told what to make of them (its MQTT discovery).
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_runtime import __version__
from edge_runtime.errors import DataError, DependencyError
from edge_runtime.serving.access import read_secret
from edge_runtime.serving.sending import AnswerSender, NotSent
from edge_runtime.serving.store import Item, Store

CHANNEL = "mqtt"
INSTALL_MQTT = 'pip install "fracture-edge-runtime[mqtt]"'
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_TOPIC = "fracture-edge"
_ANSWER_S = 10.0  # that a broker may take
_ALIVE_S = 60  # between two signs of life
_QOS = 1  # at least once


@dataclass(frozen=True)
class MqttSettings:
    """One broker."""

    url: str  # mqtt[s]://[USER@]HOST[:PORT][/TOPIC]
    password_file: Path | None = None
    discovery: bool = False  # tell Home Assistant

    def check(self) -> Broker:
        """Where and as whom.

        Raises:
            DataError: the URL is none of MQTT, or the password is not fit.
            StorageError: the password cannot be read.
            DependencyError: paho-mqtt is not installed.
        """
        try:
            import paho.mqtt  # noqa: F401
        except ModuleNotFoundError as error:
            raise DependencyError(f"--mqtt needs {error.name}: {INSTALL_MQTT}") from error
        try:
            parts = urlsplit(self.url)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            parts, port = urlsplit(""), 0
        topic = parts.path.strip("/") or _TOPIC
        if not parts.hostname or any(sign in self.url for sign in "+#?\0"):
            raise DataError(f"--mqtt {self.url}: mqtt://[USER@]HOST[:PORT][/TOPIC] was expected, or mqtts://")
        if parts.password is not None:
            raise DataError("--mqtt: a password in the URL is seen by all users of this machine: --mqtt-password-file")
        if (parts.username is None) != (self.password_file is None):
            raise DataError("--mqtt: a USER in the URL and --mqtt-password-file belong together")
        password = None if self.password_file is None else read_secret(self.password_file).decode("utf-8", "replace")
        user = None if parts.username is None else unquote(parts.username)
        return Broker(parts.hostname, port, parts.scheme == "mqtts", topic, user, password)


@dataclass(frozen=True)
class Broker:
    """A broker, and who we are there."""

    host: str
    port: int
    secure: bool  # by TLS
    topic: str  # that all of ours begin with
    user: str | None
    password: str | None


class Mqtt(AnswerSender):
    """The thread that publishes.

    Args:
        store: of the answers.
        broker: where they go.
        model: what Home Assistant is told of the network; None: it is told nothing.
        tell: for a line to the log.
    """

    def __init__(self, store: Store, broker: Broker, model: str | None, tell: Callable[[str], None]) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        super().__init__(store, CHANNEL, f"MQTT {broker.host}", tell)
        self._broker, self._model = broker, model
        self._device = f"fracture-edge-{store.device()}"
        self._settled, self._refusal = threading.Event(), ""
        self._client: Any = Client(CallbackAPIVersion.VERSION2, client_id=self._device, clean_session=True)
        self._client.connect_timeout = _ANSWER_S
        self._client.on_connect, self._client.on_disconnect = self._connected, self._lost
        self._client.will_set(f"{broker.topic}/status", "offline", _QOS, retain=True)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.secure:
            self._client.tls_set_context(ssl.create_default_context())

    def stop(self) -> None:
        """Ends, and says so; what was not published is published after the next start."""
        super().stop()
        if self._client.is_connected():
            with contextlib.suppress(NotSent):  # the broker says it then, by the last will
                self._publish("status", "offline", retain=True)
        self._client.disconnect()
        self._client.loop_stop()

    def _send_all(self) -> str | None:
        try:
            self._require_connection()
        except NotSent as error:
            return str(error)
        return super()._send_all()

    def _send(self, item: Item) -> None:
        self._require_connection()
        self._publish("answers", json.dumps(item.to_dict()))

    def _publish(self, name: str, text: str, retain: bool = False) -> None:
        """Returns once the broker has said that it has it."""
        try:
            message = self._client.publish(f"{self._broker.topic}/{name}", text, _QOS, retain)
            message.wait_for_publish(_ANSWER_S)
            is_published = message.is_published()
        except (ValueError, RuntimeError) as error:  # paho's words for a connection lost in mid-sentence
            raise NotSent("the connection was lost") from error
        if not is_published:
            raise NotSent("no answer")

    def _require_connection(self) -> None:
        if self._client.is_connected():
            return
        self._client.loop_stop()  # of a connection that was lost: this thread says when to try again
        self._settled.clear()
        try:
            self._client.connect(self._broker.host, self._broker.port, _ALIVE_S)
        except ssl.SSLError as error:
            raise NotSent(f"TLS: {error.reason or 'failed'}") from error
        except (OSError, ValueError) as error:
            raise NotSent(f"cannot be reached: {getattr(error, 'strerror', None) or 'no answer'}") from error
        self._client.loop_start()
        if not self._settled.wait(_ANSWER_S):
            raise NotSent("no answer")
        if not self._client.is_connected():
            raise NotSent(self._refusal or "the connection was lost")
        self._publish("status", "online", retain=True)
        if self._model is not None:
            for topic, text in discovery(self._device, self._broker.topic, self._model).items():
                self._client.publish(topic, text, _QOS, retain=True)

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = f"refused: {reason}" if reason.is_failure else ""
        self._settled.set()

    def _lost(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._settled.set()
        self.wake()  # connected again at once, that `status` be true though nothing is to be told


def discovery(device: str, topic: str, model: str) -> dict[str, str]:
    """{topic: message} by which Home Assistant finds two sensors (its documentation, MQTT, "MQTT Discovery").

    Args:
        device: a name of this device that no other has.
        topic: that all of ours begin with.
        model: name of the network.
    """
    about = {"identifiers": [device], "name": "Fracture detection", "manufacturer": "fracture-edge", "model": model}
    about["sw_version"] = __version__
    shared = {"state_topic": f"{topic}/answers", "availability_topic": f"{topic}/status", "device": about}
    sensors: dict[str, dict[str, Any]] = {
        "decision": {
            "name": "Decision (research use only)",
            "value_template": "{{ value_json.result.decision | default('cannot be judged') }}",
        },
        "probability": {
            "name": "Probability (research use only)",
            "value_template": "{{ (100 * value_json.result.probability) | round(1) if value_json.result.probability is "
            "defined else none }}",
            "unit_of_measurement": "%",
            "state_class": "measurement",
        },
    }
    return {
        f"homeassistant/sensor/{device}/{name}/config": json.dumps(
            {**sensor, **shared, "unique_id": f"{device}-{name}", "object_id": f"fracture_{name}"}
        )
        for name, sensor in sensors.items()
    }
