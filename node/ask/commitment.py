"""Storage commitment of answers: what destinations report over associations of their own (PS3.4 J.3.3)."""

import logging
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from node.errors import Refusal, Status
from node.query.data_set import read_data_set
from storage.spool.outbox import Outbox

COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs: all objects are committed, or some are not (PS3.4 table J.3-2)."""

logger = logging.getLogger(__name__)


def committed_uids(event_type: int | None, information: Dataset) -> list[str]:
    """SOP Instance UIDs of the objects that a report confirms; those that it denies are logged."""
    for item in information.get("FailedSOPSequence") or [] if event_type == SOME_FAILED else []:
        uid, reason = item.get("ReferencedSOPInstanceUID", "?"), item.get("FailureReason", 0)
        logger.error("result %s is not committed by its destination: reason %04X", uid, reason)
    return [str(item.get("ReferencedSOPInstanceUID", "")) for item in information.get("ReferencedSOPSequence") or []]


class CommitmentReportService:
    """Serves N-EVENT-REPORT of the Storage Commitment Push Model: notes in the outbox what a destination confirms.

    Parameters
    ----------
    open_outbox
        Opens the outbox when the first report comes.
    """

    def __init__(self, open_outbox: Callable[[], Outbox]) -> None:
        self._open_outbox = open_outbox

    def serve(self, association: Association, context: PresentationContext, request: N_EVENT_REPORT) -> None:
        """Note a report, and respond. Never raises."""
        status = Status.SUCCESS
        try:
            if request.EventTypeID not in (COMMITTED, SOME_FAILED):
                status = Status.NO_SUCH_EVENT_TYPE
            else:
                self._note(association, context, request)
        except Refusal as refusal:
            status = refusal.status
        except Exception:
            logger.exception("internal error while a report of storage commitment is served")
            status = Status.PROCESSING_FAILURE
        response: Any = N_EVENT_REPORT()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.EventTypeID, response.Status = request.EventTypeID, status
        association.dimse.send_msg(response, context.context_id or 0)

    def _note(self, association: Association, context: PresentationContext, request: N_EVENT_REPORT) -> None:
        caller = str(association.requestor.ae_title)
        encoded = b"" if request.EventInformation is None else request.EventInformation.getvalue()
        uids = committed_uids(request.EventTypeID, read_data_set(encoded, UID(context.transfer_syntax[0])))
        self._open_outbox().committed(uids, caller)
        logger.info("%s reports %d objects as committed", caller, len(uids))
