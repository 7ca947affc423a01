"""The role `dicom`: one listener that receives instances and answers queries, on pynetdicom."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.service_class import QueryRetrieveServiceClass
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
    register_uid,
)

from node.dicom.client import send_at_once
from node.dicom.listener import Listener, listen
from node.dicom.private import SIMILARITY_FIND
from node.dicom.quotas import Places
from node.errors import Refusal, Status
from node.home import open_for_reading
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.processes import Heartbeat
from node.query.find import Finder
from node.roles.kernel_cache import load_kernels
from node.settings import Settings
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

logger = logging.getLogger(__name__)

FIND_CLASSES = (
    StudyRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelFind,
    SIMILARITY_FIND,
)
FIND_TRANSFER_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
EXTENDED_NEGOTIATION = bytes([1, 0, 0, 0, 0, 1, 0])
"""Relational queries, date-time, fuzzy names, time zone, multi-frame conversion, empty and multiple values: a byte each
(PS3.4 C.5.1.1). Not the last: there all values of a key must match (C.2.2.2.8), here any."""

SERVED = {Verification, *FIND_CLASSES}
"""What is answered whatever the back-pressure; every other class stores."""

LOCAL_LIMIT_EXCEEDED = 2, 3, 2
"""Rejected transient, by the service provider (presentation related), local limit exceeded (PS3.8 table 9-21)."""

WRITE_EVERY_S = 1.0
"""Interval at which the counted refusals are written."""

MOST_CONNECTIONS = 1000
"""Of one process, those included whose association is still to be asked for."""

register_uid(SIMILARITY_FIND, "LookalikeSimilarityFind", QueryRetrieveServiceClass, "C-FIND")


def run(settings: Settings, stop: threading.Event, number: int, heartbeat: Heartbeat) -> None:
    """Receive and answer until `stop` is set."""
    reading = open_for_reading(settings)
    finder = Finder(settings, reading.database, reading.retriever)
    spool = reading.retriever.spool
    refusals = Refusals(settings.run_path, number)
    entity = Entity(settings, Receiver(spool, Pressure(spool, settings), refusals), finder)
    entity.start()
    load_kernels(settings.run_path, reading.database.header.code_length)
    heartbeat.renew()
    logger.info("listening as %s on %s:%d", settings.ae_title, settings.host, settings.port)
    while not stop.wait(WRITE_EVERY_S):
        heartbeat.renew()
        refusals.write()
    entity.stop()
    refusals.write()


class Entity:
    """Listens, and hands requests to the receiver and the finder."""

    def __init__(self, settings: Settings, receiver: Receiver, finder: Finder) -> None:
        self.settings, self.receiver, self.finder = settings, receiver, finder
        each = settings.max_associations_each
        self._places = Places(settings.run_path / "associations", settings.max_associations, each)
        self._listener: Listener | None = None

    def start(self) -> None:
        """Listen, in threads of this process.

        Raises
        ------
        OSError
            The address is in use or not ours.
        """
        _config.UNRESTRICTED_STORAGE_SERVICE = True  # every storage class, every transfer syntax, as proposed
        _config.LOG_HANDLER_LEVEL = "none"
        _config.LOG_REQUEST_IDENTIFIERS = False  # patients first: identifiers stay out of the log
        _config.LOG_RESPONSE_IDENTIFIERS = False
        pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE  # its warnings quote values
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, send_at_once),
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_REJECTED, self._note_rejection),
            (evt.EVT_ESTABLISHED, _log_association),
            (evt.EVT_SOP_EXTENDED, _negotiate),
            (evt.EVT_C_FIND, self._find),
        ]
        address = (self.settings.host, self.settings.port)
        self._listener = listen(self._ae(), address, handlers, self.receiver, shared=self.settings.receivers > 1)

    def stop(self) -> None:
        """Stop listening and abort what is open."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def _ae(self) -> AE:
        ae = AE(ae_title=self.settings.ae_title)
        ae.require_called_aet = True
        ae.maximum_associations = MOST_CONNECTIONS  # `_admit` counts those of all receivers
        ae.maximum_pdu_size = self.settings.maximum_pdu_size
        ae.network_timeout = self.settings.network_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.add_supported_context(Verification)
        for sop_class in FIND_CLASSES:
            ae.add_supported_context(sop_class, FIND_TRANSFER_SYNTAXES)
        return ae

    def _admit(self, event: Any) -> None:
        """Give an association that is asked for its place, or reject it for now (PS3.8 9.3.4, local limit exceeded)."""
        request: Any = event.assoc.requestor.primitive
        title = request.calling_ae_title
        stores = any(context.abstract_syntax not in SERVED for context in request.presentation_context_definition_list)
        level = self.receiver.pressure.rejects() if stores else None
        place = None if level else self._places.take(title)
        if place is not None:
            event.assoc.dul.closed.add_done_callback(lambda _: place.release())
            return
        reason = f"{level.resource} at {level.share:.0%} of the limit" if level else "too many associations"
        logger.warning("rejected an association from %s, to try later: %s", title, reason)
        self.receiver.refusals.add(f"association, to try later: {reason if not level else level.resource}", title)
        event.assoc.acse.send_reject(*LOCAL_LIMIT_EXCEEDED)
        event.assoc.kill()

    def _note_rejection(self, event: Any) -> None:
        """Count what pynetdicom rejects: another called AE title than ours."""
        title = event.assoc.requestor.primitive.calling_ae_title
        logger.warning("rejected an association from %s: it called another AE title than ours", title)
        self.receiver.refusals.add("association: called AE title not recognized", title)

    def _find(self, event: Event) -> Iterator[tuple[Dataset | int, Dataset | None]]:
        model = event.context.abstract_syntax
        try:
            responses = self.finder.find(
                _identifier(event),
                patient_root=model == PatientRootQueryRetrieveInformationModelFind,
                example_mandatory=model == SIMILARITY_FIND,
                is_cancelled=lambda: event.is_cancelled or not event.assoc.is_established,
            )
            for status, identifier in responses:
                yield int(status), identifier
        except Refusal as refusal:
            logger.warning("refused to find: %s", refusal)
            yield _status(refusal), None
        except Exception:
            logger.exception("internal error while finding")
            yield _status(Refusal(Status.INTERNAL_ERROR, "internal error: see the log of the node")), None


def _identifier(event: Event) -> Dataset:
    try:
        return event.identifier
    except Exception as error:  # whatever reading a stream of anything raises
        raise Refusal(Status.CANNOT_UNDERSTAND, "the identifier is not a data set") from error


def _status(refusal: Refusal) -> Dataset:
    status = Dataset()
    status.Status = int(refusal.status)
    status.ErrorComment = refusal.comment
    if refusal.offending is not None:
        status.OffendingElement = [refusal.offending]
    return status


def _log_association(event: Event) -> None:
    logger.info("association from %s (%s)", event.assoc.requestor.ae_title, event.assoc.requestor.address)


def _negotiate(event: Any) -> dict[Any, bytes]:
    """Answer extended negotiation of the query models: of the fields proposed, those accepted."""
    return {
        sop_class: bytes(ours & theirs for ours, theirs in zip(EXTENDED_NEGOTIATION, proposed, strict=False))
        for sop_class, proposed in event.app_info.items()
        if sop_class in FIND_CLASSES
    }
