"""The node as a whole: started beside the page, stopped with it, and nothing lost in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from edge_runtime.errors import DependencyError, ImageError
from edge_runtime.serving.node.belonging import accession_number
from edge_runtime.serving.node.capture import make_capture
from edge_runtime.serving.node.forwarding import Forwarder
from edge_runtime.serving.node.judge import Judge
from edge_runtime.serving.node.listener import Listener
from edge_runtime.serving.node.originals import Originals
from edge_runtime.serving.node.peers import CAPTURE, REPORT, NodeSettings
from edge_runtime.serving.node.report import make_report
from edge_runtime.serving.parts import Parts
from edge_runtime.serving.store import Item

INSTALL_NODE = 'pip install "fracture-edge-runtime[node]"'


class Node:
    """A DICOM node.

    Args:
        settings: of the node.
        parts: of the server that it stands in.
        tell: for a line to the log, without a word of a patient.

    Raises:
        DependencyError: pynetdicom or pydicom is not installed.
        StorageError: the folders of the queue cannot be made.
    """

    def __init__(
        self,
        settings: NodeSettings,
        parts: Parts,
        tell: Callable[[str], None],
    ) -> None:
        require_node()
        store = parts.store
        self._settings, self._tell = settings, tell
        self._originals = Originals(store, _identifiers if parts.show_identifiers else lambda content: None)
        self._forwarder = Forwarder(store, settings.title, settings.forward, tell) if settings.forward else None
        reports = _Reports(self._forwarder, settings.forward_as, parts, tell)
        self._judge = Judge(self._originals, parts.judging, parts.metrics, reports, tell)
        self._listener = Listener(settings, self._originals, self._judge.wake, tell)

    def start(self) -> None:
        """Takes up what waited, and listens.

        Raises:
            StorageError: it cannot listen.
        """
        waiting = self._originals.recover()
        port = self._listener.start()
        self._judge.start()
        if self._forwarder is not None:
            self._forwarder.start()
        taken_up = f", {waiting} images waited" if waiting else ""
        self._tell(f"DICOM node {self._settings.title} on {self._settings.host}:{port}{taken_up}")

    def stop(self) -> None:
        """Takes nothing more in and ends after the image in hand; what waits is judged after the next start."""
        self._listener.stop()
        self._judge.stop()
        if self._forwarder is not None:
            self._forwarder.stop()


class _Reports:
    """Reports and captures of answers, for whom they are forwarded to."""

    def __init__(
        self, forwarder: Forwarder | None, kinds: tuple[str, ...], parts: Parts, tell: Callable[[str], None]
    ) -> None:
        self._forwarder, self._kinds, self._parts, self._tell = forwarder, kinds, parts, tell
        is_capture = forwarder is not None and CAPTURE in kinds
        self.wants_heatmap = is_capture and parts.judging.predictor.has_heatmap
        if is_capture and not self.wants_heatmap:
            tell("DICOM: this network has no heatmap: captures show the image and its answer")

    def prepare(self, item: Item, content: bytes, record: dict[str, Any]) -> None:
        if self._parts.kept is not None:
            self._parts.kept.keep(item.id, content)
        if self._forwarder is None:
            return
        if "error" in record:
            self._tell(f"DICOM: image {item.id} cannot be judged ({record['error']['code']}): nothing is sent on")
            return
        try:
            for kind in self._kinds:
                self._forwarder.keep(item.id, self._made(kind, content, record), kind)
        except (ImageError, DependencyError) as error:
            self._tell(f"DICOM: nothing is sent on of image {item.id}: {error}")

    def _made(self, kind: str, content: bytes, record: dict[str, Any]) -> bytes:
        if kind == REPORT:
            return make_report(content, record)
        return make_capture(content, record, self._parts.judging.predictor.limits)

    def release(self) -> None:
        self._parts.drift.today()
        if self._forwarder is not None:
            self._forwarder.wake()


def require_node() -> None:
    """Sees to it that what the node needs is installed.

    Raises:
        DependencyError: it is not.
    """
    try:
        import pydicom  # noqa: F401
        import pynetdicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError(f"--dicom-port needs {error.name}: {INSTALL_NODE}") from error


def _identifiers(content: bytes) -> dict[str, Any]:
    now = datetime.now().astimezone().isoformat("T", "seconds")
    return {"name": accession_number(content), "time": now}
