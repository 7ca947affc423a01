"""The source PACS: associations that the node requests from it, and its responses to a retrieval."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, SOPClassExtendedNegotiation
from pynetdicom.presentation import PresentationContext

from node.dicom.client import Peer, send_at_once
from node.dicom.message_reader import InstanceStore
from node.dicom.upper_layer import StreamingEntity, UpperLayer
from node.errors import PeerError, Status
from node.metrics import metrics
from node.retrieve.caller import CallerGoneError, RetrievalCancelledError, RetrieveCall
from node.settings import Settings

CHECK_S: Final = 0.02
"""Interval at which a retrieval looks for a C-CANCEL or a lost association, seconds."""
CANCEL_GRACE_S: Final = 5.0
"""Time that the source PACS has to end a cancelled retrieval; then its association is aborted."""
MESSAGE_ID: Final = 1
"""Message ID of the only request of an association of ours."""
NOT_OFFERED: Final = "does not offer this service"
Negotiation = SCP_SCU_RoleSelectionNegotiation | SOPClassExtendedNegotiation
Watch = Callable[[], None]
"""Function that is called repeatedly while a response is awaited; it may raise to end the wait."""


class SourceArchive:
    """Requests associations from the PACS that holds the images (setting `source_peer`).

    Parameters
    ----------
    store
        Counts refused requests, and takes instances where an association has no store of its own.
    ae_title
        Another archive of the table of peers; "" for the source PACS.
    """

    def __init__(self, settings: Settings, store: InstanceStore, ae_title: str = "") -> None:
        self.peer, self._store = Peer.of(settings, ae_title or settings.source_peer), store
        self._answer_s, self._silence_s = settings.peer_timeout_s, settings.retrieve_timeout_s

    @contextmanager
    def association(
        self,
        contexts: list[PresentationContext],
        negotiation: Sequence[Negotiation] = (),
        store: InstanceStore | None = None,
        limit_s: float | None = None,
    ) -> Iterator[Association]:
        """An association for one request, released in the end, or aborted if the block raises.

        Parameters
        ----------
        negotiation
            Role selections and extended negotiations to propose.
        store
            Takes the instances of C-STORE sub-operations.
        limit_s
            Time to connect and to be accepted, by default the setting `peer_timeout_s`.

        Raises
        ------
        PeerError
            The source PACS cannot be reached, or rejects the association.
        """
        association = self._associate(contexts, negotiation, store or self._store, limit_s or self._answer_s)
        try:
            yield association
        except BaseException:
            _layer(association).close()  # nothing more is wanted, and it may be the PACS that does not answer
            association.kill()
            raise
        if _layer(association).is_over:
            association.kill()
        else:
            association.release()

    def _associate(
        self,
        contexts: list[PresentationContext],
        negotiation: Sequence[Negotiation],
        store: InstanceStore,
        limit_s: float,
    ) -> Association:
        peer = self.peer
        entity = StreamingEntity(peer.calling_ae_title, store, self._silence_s)
        entity.connection_timeout = entity.acse_timeout = limit_s
        options: Any = {
            "max_pdu": peer.maximum_pdu_size,
            "ext_neg": list(negotiation),
            "tls_args": peer.tls,
            "evt_handlers": [(evt.EVT_CONN_OPEN, send_at_once)],
        }
        started_s = time.monotonic()
        association = entity.associate(peer.host, peer.port, contexts, peer.ae_title, **options)
        metrics().peer.observe(time.monotonic() - started_s)
        if not association.is_established:
            unanswered = NOT_OFFERED if association.rejected_contexts else "does not answer"
            problem = "rejects our AE title" if association.is_rejected else unanswered
            _layer(association).close()
            raise PeerError(f"source PACS {peer.ae_title} {problem}")
        return association

    def check_accepts(self, association: Association, model: UID) -> None:
        """Raise PeerError if the source PACS did not accept a SOP class."""
        if not any(context.abstract_syntax == model for context in association.accepted_contexts):
            raise PeerError(f"source PACS {self.peer.ae_title} {NOT_OFFERED}")

    def responses(self, association: Association, watch: Watch) -> Iterator[Any]:
        """Responses to the request under way, as primitives of pynetdicom, the final one last.

        Raises
        ------
        PeerError
            The association ended before the final response, or something else came.
        """
        status = None
        while status is None or status in (Status.PENDING, Status.PENDING_WITH_UNSUPPORTED_KEYS):
            watch()
            try:
                _, response = association.dimse.msg_queue.get(timeout=CHECK_S)
            except Empty:
                if not _layer(association).is_over:
                    continue
                response = None
            if response is None or not response.is_valid_response:
                raise PeerError(f"association with source PACS {self.peer.ae_title} lost")
            status = response.Status
            yield response


class CancelWatch:
    """The watch of a relayed request: it relays the caller's C-CANCEL once.

    Raises
    ------
    CallerGoneError
        From a call: the caller is gone.
    RetrievalCancelledError
        From a call: the source PACS has not ended `CANCEL_GRACE_S` after the C-CANCEL.
    """

    def __init__(self, call: RetrieveCall, association: Association) -> None:
        self._call, self._association = call, association
        self._cancelled_s: float | None = None

    def __call__(self) -> None:
        """Check the caller once, and relay its C-CANCEL."""
        if self._call.is_gone:
            raise CallerGoneError
        if self._cancelled_s is None and self._call.is_cancelled:
            self._cancelled_s = time.monotonic()
            if self._association.is_established:
                self._association.send_c_cancel(MESSAGE_ID, query_model=self._call.model)
        if self._cancelled_s is not None and time.monotonic() - self._cancelled_s > CANCEL_GRACE_S:
            raise RetrievalCancelledError


def _layer(association: Association) -> UpperLayer:
    assert isinstance(association.dul, UpperLayer)
    return association.dul
