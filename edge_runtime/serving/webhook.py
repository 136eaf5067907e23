"""Tells a program elsewhere of each answer by HTTP POST, signed as Standard Webhooks 1.0 have it.

https://www.standardwebhooks.com: `webhook-id` is the same at each attempt, so that a receiver knows what it has;
`webhook-signature` is `v1,` and base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. Any answer from 200 to 299 is success.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge_runtime import __version__
from edge_runtime.errors import DataError
from edge_runtime.serving.access import read_secret
from edge_runtime.serving.sending import AnswerSender, NotSent
from edge_runtime.serving.store import Item, Store

CHANNEL = "webhook"
_ANSWER_S = 10.0  # that a receiver may take
_NOT_NOW = frozenset({408, 425, 429})  # of the answers that blame the request, those that do not mean it
_PREFIX = "whsec_"  # of a secret in base64, as other programs of the standard make them


@dataclass(frozen=True)
class WebhookSettings:
    """One receiver."""

    url: str
    secret_file: Path  # holds what both sides sign with

    def check(self) -> bytes:
        """The secret.

        Raises:
            DataError: the URL is none of http or https, or the secret is not fit.
            StorageError: the secret cannot be read.
        """
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise DataError(f"--webhook {self.url}: http://HOST/PATH or https://HOST/PATH was expected")
        if parts.username is not None:
            raise DataError("--webhook: a name or password in the URL is not sent; the signature says who asks")
        secret = read_secret(self.secret_file)
        if not secret.startswith(_PREFIX.encode()):
            return secret
        try:
            return base64.b64decode(secret[len(_PREFIX) :], validate=True)
        except ValueError as error:
            raise DataError(f"{self.secret_file}: after {_PREFIX} base64 was expected") from error


def signature(secret: bytes, message: str, timestamp: int, body: bytes) -> str:
    """What stands in the header `webhook-signature`.

    Args:
        secret: of both sides.
        message: the header `webhook-id`.
        timestamp: the header `webhook-timestamp`, seconds since 1970.
        body: of the request.
    """
    digest = hmac.new(secret, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhook(AnswerSender):
    """The thread that tells.

    Args:
        store: of the answers.
        settings: of the receiver.
        secret: of both sides.
        tell: for a line to the log.
    """

    def __init__(self, store: Store, settings: WebhookSettings, secret: bytes, tell: Callable[[str], None]) -> None:
        parts = urlsplit(settings.url)
        super().__init__(store, CHANNEL, f"webhook {parts.hostname}", tell)
        self._secret, self._secure = secret, parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context = ssl.create_default_context() if self._secure else None
        self._device = store.device()

    def _send(self, item: Item) -> None:
        body = json.dumps({"type": "image.answered", "data": item.to_dict()}).encode()
        message, timestamp = f"{self._device}-{item.id}", int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"fracture-edge/{__version__}",
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, message, timestamp, body),
        }
        connection = self._connection()
        try:
            connection.request("POST", self._target, body, headers)
            status = connection.getresponse().status
        except ssl.SSLError as error:
            raise NotSent(f"TLS: {error.reason or 'failed'}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotSent(getattr(error, "strerror", None) or "no answer") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise NotSent(f"answered with status {status}", is_refusal=400 <= status < 500 and status not in _NOT_NOW)

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=_ANSWER_S, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=_ANSWER_S)
