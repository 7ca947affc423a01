"""Association requests are answered: rejected with a reason, or accepted context by context (PS3.8 7.1.1, 9.3.3)."""

import logging
from collections.abc import Callable, Container, Mapping
from typing import Any, Final, NamedTuple, Protocol, cast

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation, SOPClassExtendedNegotiation
from pynetdicom.presentation import PresentationContext

from node.access.callers import Caller, Origin
from node.dicom.association_request import APPLICATION_CONTEXT, AssociationRequest, ProposedContext
from node.dicom.message_reader import InstanceStore
from node.dicom.sop_classes import (
    FIND_CLASSES,
    Extension,
    Service,
    accepted_extensions,
    choose_transfer_syntax,
    service_of,
)
from node.dicom.upper_layer import UpperLayer
from node.logs import begin_request
from node.options.access import Right

logger = logging.getLogger(__name__)

ACCEPTED, NO_REASON, ABSTRACT_SYNTAX, TRANSFER_SYNTAX = 0, 2, 3, 4
"""Results of a presentation context (PS3.8 table 9-18)."""


class Rejection(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An association is not accepted.

    Attributes
    ----------
    code
        Result, source and reason of the A-ASSOCIATE-RJ (PS3.8 table 9-21).
    reason
        Why, in words, for the log and to count by; holds nothing that the peer sent.
    """

    def __init__(self, code: tuple[int, int, int], reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


LOCAL_LIMIT_EXCEEDED: Final = 2, 3, 2
CHECK_FAILED: Final = 2, 2, 1
"""Codes of rejections for now: a limit of the node, and no reason given."""
CALLER_NOT_RECOGNIZED: Final = 1, 1, 3


class Admission(NamedTuple):
    """What an admitted association is given.

    Attributes
    ----------
    release
        Gives its quota back; called when its connection is closed.
    caller
        Who was admitted, with its rights.
    store
        Takes its instances; None for the store of the listener.
    storing
        Right that a caller needs to send instances.
    """

    release: Callable[[], None]
    caller: Caller
    store: InstanceStore | None = None
    storing: Right = Right.STORE


class AssociationPolicy(Protocol):
    """What the application decides about associations.

    Attributes
    ----------
    services
        Services by the called AE title under which they are offered; another title is not recognized.
    """

    accept_unknown_sop_classes: bool
    services: Mapping[str, frozenset[Service]]

    def admit(self, request: AssociationRequest, origin: Origin, *, stores: bool) -> Admission:
        """Admit an association.

        Parameters
        ----------
        origin
            Where the connection comes from.
        stores
            True if a storage class is proposed.

        Raises
        ------
        Rejection
            It is not admitted. Any other exception rejects it, too.
        """

    def note(self, reason: str, calling_ae_title: str, address: str = "") -> None:
        """Count what was refused or mended. Never raises."""


Serve = Callable[["AcceptedAssociation", PresentationContext, Any], None]
"""Serves a request in the thread of its association: sends every response, and never raises."""


class AcceptedAssociation(Association):
    """An association that a peer requested; its connection is closed when its thread ends, also after an error."""

    dul: UpperLayer
    services: Mapping[type, Serve] = {}
    """What serves requests that pynetdicom would serve otherwise, by the class of the request."""

    @property
    def caller(self) -> Caller:
        """Who requested it, with its rights."""
        return self.dul.messages.caller

    @property
    def is_peer_gone(self) -> bool:
        """True if the peer aborted the association or closed its connection."""
        return self.dul.is_over or self.acse.is_aborted()

    def is_cancelled(self, message_id: int) -> bool:
        """True once the peer sent a C-CANCEL for the request of this Message ID, which is being served."""
        return message_id in self.dimse.cancel_req

    def run_reactor(self) -> None:
        """Negotiate and serve; never raises."""
        begin_request()  # this thread ends with the association
        try:
            super().run_reactor()
        except Exception:
            logger.exception("internal error: the association with %s ends", self.requestor.ae_title)
        finally:
            self.dul.close()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve a request by `services`, or leave it to pynetdicom."""
        serve = self.services.get(type(msg))
        if serve is None or not msg.is_valid_request:
            super()._serve_request(msg, context_id)
            return
        serve(self, self._accepted_cx[context_id], msg)  # a C-CANCEL may be there already: it counts
        self.dimse.cancel_req = {}
        self.dul._idle_timer.restart()  # the peer had nothing to say meanwhile


class Acceptor(ACSE):
    """Negotiates one association that a peer asks for, in the thread of the association."""

    def __init__(self, association: Association, layer: UpperLayer, policy: AssociationPolicy) -> None:
        super().__init__(association)
        self._layer, self._policy = layer, policy

    def _negotiate_as_acceptor(self) -> None:
        """Answer the request; whatever fails rejects it, so that a broken check admits nobody."""
        request = self._layer.request
        if request is None:  # the peer was gone, or sent something else, before a request
            self._layer.close()
            return
        self.requestor.ae_title = request.calling_ae_title or "?"
        try:
            self._accept(request)
        except Rejection as rejection:
            self._reject(request, rejection)
        except Exception:
            logger.exception("an association request could not be checked")
            self._reject(request, Rejection(CHECK_FAILED, "internal error while checking the request"))

    def _accept(self, request: AssociationRequest) -> None:
        _check(request, self._policy.services)
        contexts = [self._answer(context, request.called_ae_title) for context in request.contexts]
        roles = _roles(self.requestor.role_selection, contexts)
        stores = any(context.as_scp and _stores(context.abstract_syntax) for context in contexts)
        if not self._layer.is_probe:  # a probe must be answered also when nobody else is admitted
            connection: Any = cast("Any", self._layer.socket).socket
            admission = self._policy.admit(request, request.shown_by(Origin.of(connection)), stores=stores)
            self._layer.when_closed(admission.release)
            messages = self._layer.messages
            messages.caller, messages.storing = admission.caller, admission.storing
            messages.store = admission.store or messages.store
            logger.info("association from %s (%s)", request.calling_ae_title, self.requestor.address)
        for slip in sorted(set(request.slips)):
            self._policy.note(f"association request mended: {slip}", request.calling_ae_title)
        items: list[Any] = [*roles, *request.identity_responses(), *_extended(self.requestor.sop_class_extended)]
        for item in items:
            self.acceptor.add_negotiation_item(item)
        self.assoc._accepted_cx = {
            context.context_id or 0: context for context in contexts if context.result == ACCEPTED
        }
        self.assoc._rejected_cx = [context for context in contexts if context.result != ACCEPTED]
        self.send_accept()
        self.assoc.is_established = True

    def _answer(self, proposed: ProposedContext, called_ae_title: str) -> PresentationContext:
        """The answer to one presentation context."""
        service = service_of(proposed.abstract_syntax, accept_unknown=self._policy.accept_unknown_sop_classes)
        service = service if service in self._policy.services[called_ae_title] else None
        syntax = None if service is None else choose_transfer_syntax(service, proposed.transfer_syntaxes)
        context = PresentationContext()
        if not 1 <= proposed.context_id <= 255 or proposed.context_id % 2 == 0:
            context._context_id, result = proposed.context_id, NO_REASON
        else:
            context.context_id = proposed.context_id
            result = ABSTRACT_SYNTAX if service is None else TRANSFER_SYNTAX if syntax is None else ACCEPTED
        context.result = result
        if result == ACCEPTED:
            context.abstract_syntax = UID(proposed.abstract_syntax)
        context.transfer_syntax = [UID(syntax or ImplicitVRLittleEndian)]  # not significant unless accepted
        context._as_scu, context._as_scp = False, result == ACCEPTED
        return context

    def _reject(self, request: AssociationRequest, rejection: Rejection) -> None:
        title = request.calling_ae_title
        logger.warning("rejected an association from %s: %s", title or "a blank AE title", rejection.reason)
        self._policy.note(f"association: {rejection.reason}", title)
        self.send_reject(*rejection.code)
        self.assoc.kill()


def _check(request: AssociationRequest, ae_titles: Container[str]) -> None:
    """Raise the rejection that PS3.8 9.3.4 has for a request, whoever sends it."""
    if request.protocol_version & 1 == 0:  # no other bit is tested (PS3.8 table 9-11)
        raise Rejection((1, 2, 2), "protocol version not supported")
    if request.application_context != APPLICATION_CONTEXT:
        raise Rejection((1, 1, 2), "application context name not supported")
    if request.called_ae_title not in ae_titles:
        raise Rejection((1, 1, 7), "called AE title not recognized")
    if not request.calling_ae_title:
        raise Rejection((1, 1, 3), "calling AE title is blank")
    if not request.contexts:
        raise Rejection((1, 1, 1), "no presentation context is proposed")


def _stores(abstract_syntax: UID | None) -> bool:
    return service_of(abstract_syntax or "") is Service.STORAGE


def _roles(proposed: dict[UID, Any], contexts: list[PresentationContext]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """Answer role selection, and set the roles of the accepted contexts (PS3.7 D.3.3.4).

    The peer may be SCU, which is also the default, and SCP of storage classes beside a C-GET class: there we send. Of
    storage commitment it may be both: it asks for commitment, or reports on what we asked for.
    """
    accepted = [context for context in contexts if context.result == ACCEPTED]
    gets = any(service_of(context.abstract_syntax or "") is Service.GET for context in accepted)
    answers = []
    for sop_class_uid, role in proposed.items():
        sends = bool(gets and role.scp_role and _stores(sop_class_uid))
        if service_of(sop_class_uid) is Service.COMMITMENT:
            answers += _reporting(sop_class_uid, role, accepted)
            continue
        for context in accepted:
            if context.abstract_syntax == sop_class_uid and (sends or role.scu_role):
                context._as_scu, context._as_scp = sends, bool(role.scu_role)
        if any(context.abstract_syntax == sop_class_uid for context in accepted) and (sends or role.scu_role):
            answer = SCP_SCU_RoleSelectionNegotiation()
            answer.sop_class_uid, answer.scu_role, answer.scp_role = sop_class_uid, bool(role.scu_role), sends
            answers.append(answer)
    return answers


def _reporting(
    sop_class_uid: UID, role: Any, accepted: list[PresentationContext]
) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """The answer to the roles of storage commitment: as SCP the peer reports, and we take reports (PS3.4 J.3.3)."""
    if not role.scp_role or all(context.abstract_syntax != sop_class_uid for context in accepted):
        return []
    answer = SCP_SCU_RoleSelectionNegotiation()
    answer.sop_class_uid, answer.scu_role, answer.scp_role = sop_class_uid, bool(role.scu_role), True
    return [answer]


def _extended(proposed: dict[UID, bytes]) -> list[SOPClassExtendedNegotiation]:
    """Answers to extended negotiation of the FIND classes: as many bytes as proposed (PS3.4 C.5.1.1)."""
    answers = []
    for sop_class_uid, fields in proposed.items():
        if sop_class_uid in FIND_CLASSES:
            accepted = accepted_extensions(fields)
            answer = SOPClassExtendedNegotiation()
            answer.sop_class_uid = sop_class_uid
            answer.service_class_application_information = bytes(
                int(index in accepted) for index in range(min(len(fields), len(Extension)))
            )
            answers.append(answer)
    return answers
