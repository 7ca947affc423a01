"""Instance Availability Notification SCP: N-CREATE requests are answered once what they say holds (PS3.4 annex R)."""

import logging
import time
from typing import Any, Final

from pydicom.uid import UID, generate_uid
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_CREATE
from pynetdicom.presentation import PresentationContext

from node.corrections.attribute_list import UID_FORM
from node.corrections.availability import read_notification
from node.corrections.follower import CorrectionFollower
from node.corrections.order_book import OrderKind
from node.errors import Refusal, Status

logger = logging.getLogger(__name__)

IN_N_CREATE: Final = {
    Status.OUT_OF_RESOURCES: Status.RESOURCE_LIMITATION,
    Status.INTERNAL_ERROR: Status.PROCESSING_FAILURE,
}
"""Statuses that N-CREATE has another value for (PS3.7 10.1.5.1.6)."""


class NotificationService:
    """Serves N-CREATE of the Instance Availability Notification SOP class."""

    def __init__(self, follower: CorrectionFollower) -> None:
        self._follower = follower

    def serve(self, association: Association, context: PresentationContext, request: N_CREATE) -> None:
        """Carry a notification out, and respond. Never raises."""
        caller = str(association.requestor.ae_title)
        uid = str(request.AffectedSOPInstanceUID or "") or str(
            generate_uid(prefix=None)
        )  # the SCP gives one (PS3.7 10.1.5.1.4)
        refusal = None
        try:
            self._carry_out(context, request, caller, uid)
        except Refusal as caught:
            refusal = caught
            logger.warning("refused an availability notification of %s: %s", caller, refusal)
        except Exception:
            logger.exception("internal error while an availability notification is served")
            refusal = Refusal(Status.PROCESSING_FAILURE, "internal error: see the log of the node")
        response: Any = N_CREATE()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID, response.AffectedSOPInstanceUID = request.AffectedSOPClassUID, uid
        response.Status = Status.SUCCESS
        if refusal is not None:
            response.Status = IN_N_CREATE.get(refusal.status, refusal.status)
            response.ErrorComment = refusal.comment
        association.dimse.send_msg(response, context.context_id or 0)

    def _carry_out(self, context: PresentationContext, request: N_CREATE, caller: str, uid: str) -> None:
        if not UID_FORM.fullmatch(uid):
            raise Refusal(Status.INVALID_SOP_INSTANCE, "Affected SOP Instance UID is no UID")
        self._follower.check_may_correct(caller)
        encoded = b"" if request.AttributeList is None else request.AttributeList.getvalue()
        told = read_notification(encoded, UID(context.transfer_syntax[0]))
        answer = self._follower.carry_out(
            OrderKind.ANNOUNCE,
            study=told.study_instance_uid,
            available=told.available,
            unavailable=told.unavailable,
            received_ns=time.time_ns(),
        )
        logger.info("availability of study %s from %s: %s", told.study_instance_uid, caller, dict(answer))
