"""Sends reports on: each stays on the disk until its receiver has said that it has it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.drafts import clear_drafts
from edge_runtime.errors import StorageError
from edge_runtime.serving.node.capture import SECONDARY_CAPTURE
from edge_runtime.serving.node.peers import CAPTURE, REPORT, Destination
from edge_runtime.serving.node.report import COMPREHENSIVE_SR
from edge_runtime.serving.sending import Sender
from edge_runtime.serving.store import Store
from edge_runtime.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

_SUFFIX = ".dcm"
_MARKS = {REPORT: "", CAPTURE: "-capture"}  # after the number of the item
_ANSWER_S = 30.0  # that a receiver may take
_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")  # Explicit and Implicit VR Little Endian
_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark (PS3.4, table B.2-1)


class Forwarder(Sender):
    """The thread that sends.

    Args:
        store: says which reports are about a kept answer.
        title: of this application entity.
        destination: who gets the reports.
        tell: for a line to the log.
    """

    def __init__(self, store: Store, title: str, destination: Destination, tell: Callable[[str], None]) -> None:
        super().__init__(f"DICOM: {destination.title}", "reports", tell)
        self._store, self._title, self._destination = store, title, destination
        self.folder = store.path.parent / "outbox"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder}: cannot be made: {error.strerror}") from error
        clear_drafts(self.folder)

    def keep(self, item: int, document: bytes, kind: str) -> None:
        """Keeps a report or capture, on the disk; it is sent once the answer of its item is kept too.

        Args:
            item: its number.
            document: a DICOM file.
            kind: of KINDS.
        """
        path = self.folder / f"{item}{_MARKS[kind]}{_SUFFIX}"
        write_whole(path, document)
        path.chmod(0o600)

    def _send_all(self) -> str | None:
        """What went wrong; None where nothing is left to be sent."""
        try:
            ready = self._ready()
            return self._send(ready) if ready else None
        except OSError as error:
            return f"cannot be sent: {error.strerror or 'no connection'}"
        except StorageError as error:
            return str(error)
        except (ValueError, RuntimeError):  # pynetdicom's words for an end of the association in mid-sentence
            return "the association ended"

    def _ready(self) -> list[Path]:
        paths = sorted(self.folder.glob(f"[0-9]*{_SUFFIX}"), key=lambda path: (_item(path), path.stem))
        return [path for path in paths if not self._store.is_waiting(_item(path))]

    def _send(self, paths: list[Path]) -> str | None:
        from pydicom import dcmread
        from pynetdicom import AE

        entity: Any = AE(self._title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _ANSWER_S
        for sop_class in (COMPREHENSIVE_SR, SECONDARY_CAPTURE):
            entity.add_requested_context(sop_class, list(_SYNTAXES))
        place = self._destination
        association = entity.associate(place.host, place.port, ae_title=place.title)
        if not association.is_established:
            return "no association"
        # pynetdicom writes command and data apart: with Nagle's algorithm each report would wait 40 ms in between.
        association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = None
        try:
            for path in paths:
                if self._ending.is_set():
                    break
                document = dcmread(path)
                if document.SOPClassUID not in {context.abstract_syntax for context in association.accepted_contexts}:
                    problem = f"takes no {'captures' if document.SOPClassUID == SECONDARY_CAPTURE else 'reports'}"
                    continue
                status = association.send_c_store(document)
                code = status.get("Status") if status else None
                if code is None:
                    return "no answer"
                if code == 0 or code in _WARNINGS:
                    path.unlink()
                else:  # one that is refused does not keep the others waiting
                    problem = f"refused a report with status 0x{code:04X}"
        finally:
            if association.is_established:
                association.release()
        return problem


def _item(path: Path) -> int:
    return int(path.stem.partition("-")[0])
