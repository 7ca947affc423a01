"""A C-MOVE or C-GET request as its caller sees it: what was requested, whether it is cancelled, and the responses."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from threading import Lock
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext

from node.errors import Refusal, Status, printable
from node.query.data_set import read_data_set

logger = logging.getLogger(__name__)

WITH_REMAINING: Final = frozenset({Status.PENDING, Status.CANCEL})
"""Statuses whose responses tell how many sub-operations remain (PS3.7 9.1.3.1.10, 9.1.4.1.7)."""


class CallerGoneError(Exception):
    """Nobody awaits the response any more."""


class RetrievalCancelledError(Exception):
    """The caller cancelled; the final response, Cancel, is still to be sent."""


@dataclass(frozen=True, slots=True)
class SubOperations:
    """Numbers of C-STORE sub-operations by state; None where the source PACS does not tell."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None

    @classmethod
    def of(cls, response: Any) -> "SubOperations":
        """Numbers that a C-MOVE or C-GET response tells."""
        return cls(
            response.NumberOfRemainingSuboperations,
            response.NumberOfCompletedSuboperations,
            response.NumberOfFailedSuboperations,
            response.NumberOfWarningSuboperations,
        )

    def given_up(self) -> "SubOperations":
        """The same numbers after those that remained have failed."""
        if self.remaining is None:
            return self
        return replace(self, remaining=None, failed=(self.failed or 0) + self.remaining)


class RetrieveCall:
    """A request that the node serves; its responses may be sent by several threads.

    Parameters
    ----------
    association
        The association that the caller requested; its upper layer is ours.
    context
        Presentation context of the request.
    request
        The C-MOVE or C-GET request.

    Attributes
    ----------
    sending
        Lock to hold while a message is sent: no other message may come between its fragments (PS3.8 annex E.1).
    counts
        Numbers of sub-operations in the last response.
    """

    def __init__(self, association: Association, context: PresentationContext, request: C_GET | C_MOVE) -> None:
        self.association, self.request = association, request
        self.sending = Lock()
        self.counts = SubOperations()
        self._context_id, self._syntax = context.context_id or 0, UID(context.transfer_syntax[0])

    @property
    def model(self) -> UID:
        """SOP class of the request, which names its information model."""
        return UID(self.request.AffectedSOPClassUID or "")

    @property
    def caller(self) -> str:
        """AE title of the caller."""
        return str(self.association.requestor.ae_title)

    @property
    def is_cancelled(self) -> bool:
        """True once the caller sent a C-CANCEL for this request."""
        return self.request.MessageID in self.association.dimse.cancel_req

    @property
    def is_gone(self) -> bool:
        """True if the caller aborted the association or closed its connection."""
        layer: Any = self.association.dul
        return bool(layer.is_over or self.association.acse.is_aborted())

    @property
    def storage_contexts(self) -> list[PresentationContext]:
        """Presentation contexts in which the caller takes instances, for it has the role of SCP there."""
        return [context for context in self.association.accepted_contexts if context.as_scu]

    def storage_context(self, sop_class_uid: str, transfer_syntax: UID) -> PresentationContext | None:
        """The one of them for instances of a SOP class in a transfer syntax, None if there is none."""
        fitting = (c for c in self.storage_contexts if c.abstract_syntax == sop_class_uid)
        return next((context for context in fitting if context.transfer_syntax[0] == transfer_syntax), None)

    def check_takes_instances(self) -> None:
        """Raise a refusal (A702) if the caller of a C-GET takes no instances on its association."""
        if not self.storage_contexts:
            comment = "propose storage classes with the SCP role: none was"
            raise Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, comment)

    def check(self) -> None:
        """Raise CallerGoneError or RetrievalCancelledError if the caller wants nothing more."""
        if self.is_gone:
            raise CallerGoneError
        if self.is_cancelled:
            raise RetrievalCancelledError

    def close(self) -> None:
        """Close the connection to the caller, who does not keep to the protocol."""
        layer: Any = self.association.dul
        layer.close()

    def identifier(self) -> Dataset:
        """Identifier of the request.

        Raises
        ------
        Refusal
            A700, C000: it cannot be read.
        """
        encoded = self.request.Identifier
        return read_data_set(b"" if encoded is None else encoded.getvalue(), self._syntax)

    def respond(
        self, status: int, counts: SubOperations | None = None, comment: str = "", failed: Sequence[str] = ()
    ) -> None:
        """Send a response.

        Parameters
        ----------
        status
            Any DIMSE status; all but pending ones are final.
        counts
            Numbers to tell, by default those of the last response.
        failed
            SOP Instance UIDs of failed sub-operations.
        """
        self.counts = self.counts if counts is None else counts
        response: Any = type(self.request)()
        response.MessageIDBeingRespondedTo = self.request.MessageID
        response.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        response.Status = status
        if status in WITH_REMAINING:
            response.NumberOfRemainingSuboperations = self.counts.remaining
        response.NumberOfCompletedSuboperations = self.counts.completed
        response.NumberOfFailedSuboperations = self.counts.failed
        response.NumberOfWarningSuboperations = self.counts.warning
        if comment:
            response.ErrorComment = printable(comment)
        if failed:
            response.Identifier = self._failed_list(failed)
        with self.sending:
            self.association.dimse.send_msg(response, self._context_id)

    def refuse(self, refusal: Refusal) -> None:
        """Send the final response of a request that failed; what remained has failed with it."""
        logger.warning("refused %s of %s: %s", type(self.request).__name__, self.caller, refusal)
        self.respond(refusal.status, self.counts.given_up(), refusal.comment)

    def _failed_list(self, failed: Sequence[str]) -> BytesIO:
        """Failed SOP Instance UID List as an identifier (PS3.4 C.4.2.1.4.2)."""
        identifier = Dataset()
        identifier.FailedSOPInstanceUIDList = list(failed)
        return BytesIO(encode(identifier, self._syntax.is_implicit_VR, self._syntax.is_little_endian) or b"")
