"""Storage Commitment SCP: N-ACTION requests are answered once they are durable, and reported as soon as decided."""

import logging
import time
from io import BytesIO
from queue import Empty
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext

from node.commitment.request import COMMITMENT_INSTANCE, read_request
from node.commitment.request_book import RequestBook, WaitingRequest
from node.commitment.verdict import Judge, Verdict, report
from node.dicom.negotiation import AcceptedAssociation
from node.dicom.sop_classes import STORAGE_COMMITMENT
from node.errors import Refusal, Status
from node.settings import Settings

logger = logging.getLogger(__name__)

HERE_S: Final = 5.0
"""How long a report is tried over the association of its request, seconds; then it has one of its own."""
LOOK_S: Final = 0.05
MAX_WAITING: Final = 10_000
"""Requests that may wait to be reported; further ones get 0213."""


class CommitmentService:
    """Serves N-ACTION of the Storage Commitment Push Model (PS3.4 annex J)."""

    def __init__(self, settings: Settings, judge: Judge) -> None:
        self._settings, self._judge = settings, judge
        self._book = RequestBook(settings.commitments_path)

    def serve(self, association: AcceptedAssociation, context: PresentationContext, request: N_ACTION) -> None:
        """Acknowledge or refuse a request, and report on it if that can be done at once. Never raises."""
        waiting, refusal = None, None
        try:
            waiting = self._take(association, context, request)
        except Refusal as caught:
            refusal = caught
            logger.warning("refused a commitment request of %s: %s", association.requestor.ae_title, refusal)
        except Exception:
            logger.exception("internal error while a commitment request is served")
            refusal = Refusal(Status.PROCESSING_FAILURE, "internal error: see the log of the node")
        _respond(association, context, request, refusal)
        try:
            if waiting is not None and self._report(association, context, waiting):
                self._book.remove(waiting)
        except Exception:
            logger.exception("internal error while storage commitment is reported: it is tried again")

    def _take(
        self, association: AcceptedAssociation, context: PresentationContext, request: N_ACTION
    ) -> WaitingRequest:
        encoded = b"" if request.ActionInformation is None else request.ActionInformation.getvalue()
        instance, action = str(request.RequestedSOPInstanceUID or ""), int(request.ActionTypeID or 0)
        wanted = read_request(instance, action, encoded, UID(context.transfer_syntax[0]))
        if len(self._book) >= MAX_WAITING:
            raise Refusal(Status.RESOURCE_LIMITATION, "too many requests wait: try again later")
        try:
            return self._book.put(str(association.requestor.ae_title), wanted)
        except OSError as error:
            raise Refusal(Status.RESOURCE_LIMITATION, f"storage failed: {error.strerror}") from error

    def _report(self, association: AcceptedAssociation, context: PresentationContext, waiting: WaitingRequest) -> bool:
        """Report over the association of the request, if all is decided in time; True if the peer took the report."""
        deadline_s = time.monotonic() + HERE_S
        while _is_quiet(association) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)  # a peer that releases at once wants to be called
            verdict = self._judge.judge(waiting.request)
            if not verdict.undecided and _is_quiet(association):
                _send(association, context, waiting, verdict, self._settings.ae_title)
                return _is_taken(association, deadline_s)
        return False


def _is_quiet(association: AcceptedAssociation) -> bool:
    """True if the peer is connected, and no request of it waits to be served."""
    nothing_came = association.dul.peek_next_pdu() is None and association.dimse.msg_queue.empty()
    return nothing_came and not association.is_peer_gone


def refuse(association: AcceptedAssociation, context: PresentationContext, request: N_ACTION) -> None:
    """Refuse a request where nothing is kept: the context may have been accepted for reports to the node."""
    refusal = Refusal(Status.UNRECOGNIZED_OPERATION, "no objects are kept here")
    _respond(association, context, request, refusal)


def _respond(
    association: AcceptedAssociation, context: PresentationContext, request: N_ACTION, refusal: Refusal | None
) -> None:
    response: Any = N_ACTION()
    response.MessageIDBeingRespondedTo = request.MessageID
    response.AffectedSOPClassUID, response.AffectedSOPInstanceUID = STORAGE_COMMITMENT, UID(COMMITMENT_INSTANCE)
    response.ActionTypeID = request.ActionTypeID
    response.Status = Status.SUCCESS if refusal is None else refusal.status
    if refusal is not None:
        response.ErrorComment = refusal.comment
    association.dimse.send_msg(response, context.context_id or 0)


def _send(
    association: AcceptedAssociation,
    context: PresentationContext,
    waiting: WaitingRequest,
    verdict: Verdict,
    ae_title: str,
) -> None:
    event_type, information = report(waiting.request, verdict, ae_title)
    message: Any = N_EVENT_REPORT()
    message.MessageID, message.EventTypeID = 1, event_type
    message.AffectedSOPClassUID, message.AffectedSOPInstanceUID = STORAGE_COMMITMENT, UID(COMMITMENT_INSTANCE)
    implicit = UID(context.transfer_syntax[0]).is_implicit_VR
    message.EventInformation = BytesIO(encode(information, implicit, is_little_endian=True) or b"")
    association.dimse.send_msg(message, context.context_id or 0)


def _is_taken(association: AcceptedAssociation, deadline_s: float) -> bool:
    """True if the peer answers the report with success."""
    queue = association.dimse.msg_queue
    while association.dul.peek_next_pdu() is None and not association.is_peer_gone and time.monotonic() < deadline_s:
        try:
            found = queue.get(timeout=LOOK_S)
        except Empty:
            continue
        if isinstance(found[1], N_EVENT_REPORT):
            return found[1].Status == Status.SUCCESS
        queue.put(found)  # a request: it is served next
        return False
    return False
