"""Who may ask: the token, the names under which the server is called, and pages of other sites.

A browser lets any page send a form to any address, this device included, and a name server may give a foreign name this
device's address. So a request has to name this server as its host, and one that a page of another site made is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_runtime.errors import DataError, StorageError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
LEAST_TOKEN = 16  # characters
_TOKEN_BYTES_MOST = 4096


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int  # of HTTP
    message: str


@dataclass(frozen=True)
class Access:
    """The rules of one server."""

    names: frozenset[str]  # hosts under which it may be called, lower case, without port
    token_sha256: bytes | None  # of what has to be shown; None: nothing has

    def refuse(self, headers: Mapping[str, str], needs_token: bool) -> Refusal | None:
        """Why a request with these headers is refused; None where it is not.

        Args:
            headers: names in lower case.
            needs_token: whether it asks for more than the page's own files.
        """
        host = host_of(headers.get("host", ""))
        if host not in self.names:
            return Refusal(421, f"this server is not called {host!r}; start it with --allow-host to add a name")
        origin = headers.get("origin")
        if origin is not None and origin != "null" and host_of(origin.partition("://")[2]) != host:
            return Refusal(403, "a page of another site may not ask")
        if origin == "null" or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return Refusal(403, "a page of another site may not ask")
        if needs_token and self.token_sha256 is not None and not self._shows_token(headers):
            return Refusal(401, "a token is needed: Authorization: Bearer TOKEN")
        return None

    def _shows_token(self, headers: Mapping[str, str]) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(shown.strip().encode("utf-8", "surrogateescape")).digest()
        # In constant time, and of digests: neither content nor length of the token can be measured.
        return hmac.compare_digest(digest, self.token_sha256 or b"") and kind.lower() == "bearer"


def host_of(authority: str) -> str:
    """The host of `host:port`, lower case, without the brackets of an IPv6 address."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") <= 1 else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> bytes:
    """SHA-256 of the token that a file holds.

    Raises:
        StorageError, DataError: as `read_secret`.
    """
    return hashlib.sha256(read_secret(path)).digest()


def read_secret(path: Path) -> bytes:
    """What a file holds that nobody else may know, without white space around it.

    Raises:
        StorageError: it cannot be read.
        DataError: it is too short or too long, or others may read it.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_TOKEN_BYTES_MOST + 1)
            others = path.stat().st_mode & 0o077
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    if others:
        raise DataError(f"{path}: others may read the token; run chmod 600 {path}")
    token = content.strip()
    if not LEAST_TOKEN <= len(token) <= _TOKEN_BYTES_MOST:
        raise DataError(
            f"{path}: a token of at least {LEAST_TOKEN} characters was expected, such as of: openssl rand -hex 16"
        )
    return token


@dataclass
class RateLimit:
    """At most so many requests a second from one address, on the average of some seconds.

    A bucket for each address (a token bucket, as in RFC 2698 of one rate) that fills with time.
    """

    per_second: float
    burst: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)  # address -> (requests left, at time)

    _MOST_ADDRESSES = 4096

    def take(self, address: str) -> bool:
        """Whether one more request from there is answered now."""
        now = time.monotonic()
        left, before = self._left.pop(address, (self.burst, now))
        left = min(self.burst, left + (now - before) * self.per_second)
        if len(self._left) >= self._MOST_ADDRESSES:
            self._left.pop(next(iter(self._left)))  # the one that has asked for the longest time no more
        self._left[address] = (left - 1.0, now) if left >= 1.0 else (left, now)
        return left >= 1.0
