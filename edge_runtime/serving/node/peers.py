"""Who may send images to the node, and where its reports go."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge_runtime.errors import DataError
from edge_runtime.serving.access import is_loopback

REPORT, CAPTURE = "sr", "sc"  # kinds of documents: Structured Report, Secondary Capture
KINDS = {REPORT: (REPORT,), CAPTURE: (CAPTURE,), "both": (REPORT, CAPTURE)}  # as asked for -> what is sent
MOST_TITLE = 16  # characters of an application entity's title (PS3.8, 9.3.2)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Caller:
    """Who may send."""

    title: str  # the calling application entity's
    network: Network | None  # of its address; None: any


@dataclass(frozen=True)
class Destination:
    """Who gets the reports."""

    title: str  # the called application entity's
    host: str
    port: int


@dataclass(frozen=True)
class NodeSettings:
    """One DICOM node."""

    title: str = "EDGE"  # of this application entity
    host: str = "127.0.0.1"  # address to listen on
    port: int = 11112  # 0 takes a free one
    callers: tuple[Caller, ...] = ()  # who may send; none: this machine alone
    forward: Destination | None = None  # who gets the answers; None: nobody
    forward_as: tuple[str, ...] = (REPORT,)  # kinds of documents that are sent

    def allows(self, title: str, address: str) -> bool:
        """Whether an application entity of that title may send from that address."""
        if not self.callers:
            return is_loopback(address)
        came_from = ipaddress.ip_address(address)
        if isinstance(came_from, ipaddress.IPv6Address) and came_from.ipv4_mapped is not None:
            came_from = came_from.ipv4_mapped
        return any(
            caller.title == title and (caller.network is None or came_from in caller.network) for caller in self.callers
        )

    def check(self) -> None:
        """Refuses settings that would let anyone in.

        Raises:
            DataError: others could send.
        """
        require_title(self.title)
        if not self.callers and not is_loopback(self.host):
            raise DataError(
                f"--dicom-host {self.host}: anybody could send; give --dicom-allow TITLE@ADDRESS for each machine"
            )


def parse_caller(text: str) -> Caller:
    """`TITLE` or `TITLE@ADDRESS`, where the address may be a network such as 192.168.1.0/24.

    Raises:
        DataError: it is neither.
    """
    title, at, address = text.rpartition("@") if "@" in text else (text, "", "")
    try:
        network = ipaddress.ip_network(address, strict=False) if at else None
    except ValueError as error:
        raise DataError(
            f"--dicom-allow {text}: {address!r} is no address, nor a network such as 10.1.2.0/24"
        ) from error
    return Caller(require_title(title), network)


def parse_destination(text: str) -> Destination:
    """`TITLE@HOST:PORT`.

    Raises:
        DataError: it is not.
    """
    title, _, place = text.rpartition("@")
    host, _, port = place.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise DataError(f"--forward {text}: TITLE@HOST:PORT was expected")
    return Destination(require_title(title), host.strip("[]"), int(port))


def require_title(title: str) -> str:
    """The title, if an application entity may bear it (PS3.5, table 6.2-1, AE).

    Raises:
        DataError: it may not.
    """
    is_plain = title.isascii() and title.isprintable() and "\\" not in title and title == title.strip()
    if not (title and is_plain and len(title) <= MOST_TITLE):
        raise DataError(f"{title!r}: no title of an application entity, which has up to {MOST_TITLE} plain characters")
    return title
