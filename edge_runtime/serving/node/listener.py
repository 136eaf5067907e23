"""C-STORE and C-ECHO by pynetdicom: who may send is looked at before anything is read of an image."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edge_runtime.dicom.codestreams import COMPRESSIONS, UNCOMPRESSED
from edge_runtime.dicom.files import MOST_FILE_BYTES
from edge_runtime.errors import EdgeError, StorageError
from edge_runtime.serving.node.originals import DiskFull, Originals
from edge_runtime.serving.node.peers import NodeSettings

if TYPE_CHECKING:
    from collections.abc import Callable

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4, table B.2-1
VERIFICATION = "1.2.840.10008.1.1"
# What may hold a radiograph: the classes of what edge_runtime.dicom takes.
STORAGE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
    "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic
    "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic
)
_REJECTED_PERMANENT, _BY_SERVICE_USER, _TITLE_UNKNOWN = 1, 1, 3  # A-ASSOCIATE-RJ (PS3.8, table 9-21)
_PEERS = 16  # associations at once
_QUIET_S = 60  # that a connection may stay silent


class Listener:
    """The server side of the node.

    Args:
        settings: of the node.
        originals: where instances are kept.
        received: called after a new instance was kept.
        tell: for a line to the log, without a word of a patient.
    """

    def __init__(
        self,
        settings: NodeSettings,
        originals: Originals,
        received: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._settings, self._originals = settings, originals
        self._received, self._tell = received, tell
        self._server: Any = None

    def start(self) -> int:
        """Listens from now on; returns the port.

        Raises:
            StorageError: it cannot listen there.
        """
        from pynetdicom import AE, evt

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # it logs what it receives
        entity = AE(self._settings.title)
        entity.require_called_aet = True
        entity.maximum_associations = _PEERS
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _QUIET_S
        entity.maximum_pdu_size = 128 << 10
        entity.add_supported_context(VERIFICATION)
        for storage_class in STORAGE_CLASSES:
            entity.add_supported_context(storage_class, readable_syntaxes())
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_PDU_RECV, self._bound),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
        ]
        place = (self._settings.host, self._settings.port)
        try:
            self._server = entity.start_server(place, block=False, evt_handlers=handlers)
        except OSError as error:
            raise StorageError(f"{place[0]}:{place[1]}: cannot listen there: {error.strerror}") from error
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Takes nothing more in."""
        if self._server is not None:
            self._server.shutdown()

    def _admit(self, event: Any) -> None:
        requestor = event.assoc.requestor
        title, address = requestor.primitive.calling_ae_title.strip(), requestor.address
        if not self._settings.allows(title, address):
            self._tell(f"DICOM: refused a peer at {address}: its title and address are not in --dicom-allow")
            event.assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_SERVICE_USER, _TITLE_UNKNOWN)

    def _bound(self, event: Any) -> None:
        """Ends an association whose message grows beyond any image: nothing else bounds what is held of it."""
        if not hasattr(event.pdu, "presentation_data_value_items"):
            return
        held = getattr(event.assoc, "edge_held_bytes", 0) + event.pdu.pdu_length
        event.assoc.edge_held_bytes = held
        if held > MOST_FILE_BYTES + (1 << 20):
            self._tell("DICOM: an image larger than any that is taken; the association was ended")
            event.assoc.abort()

    def _store(self, event: Any) -> int:
        event.assoc.edge_held_bytes = 0
        try:
            content = event.encoded_dataset()
            is_new = self._originals.take(str(event.request.AffectedSOPInstanceUID), content)
        except DiskFull:
            self._tell("DICOM: the disk is nearly full: an image was refused, and its sender told so")
            return OUT_OF_RESOURCES
        except (OSError, EdgeError):
            self._tell("DICOM: an image could not be kept, and its sender was told so")
            return OUT_OF_RESOURCES
        except (ValueError, AttributeError):
            return CANNOT_UNDERSTAND
        if is_new:
            self._received()
        return SUCCESS


def readable_syntaxes() -> list[str]:
    """Transfer syntaxes of which this machine can decode the pixels: a sender takes one of them, or transcodes."""
    from pydicom.pixels import get_decoder

    def is_readable(syntax: str) -> bool:
        plugin = COMPRESSIONS[syntax][1]
        return plugin in get_decoder(syntax).available_plugins

    return [*sorted(UNCOMPRESSED), *filter(is_readable, COMPRESSIONS)]
