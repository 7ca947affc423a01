"""Requests of associations become audit messages before they are served."""

import logging
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import decode
from pynetdicom.presentation import PresentationContext

from node.access.audit_trail import AuditTrail
from node.dicom.negotiation import AcceptedAssociation

logger = logging.getLogger(__name__)


def audited(
    serve: Callable[[AcceptedAssociation, PresentationContext, Any], None], trail: AuditTrail
) -> Callable[[AcceptedAssociation, PresentationContext, Any], None]:
    """What serves a request, and records before that who sent it, from where, and its identifier."""

    def serve_audited(association: AcceptedAssociation, context: PresentationContext, request: Any) -> None:
        """Record, then serve; a record that fails is logged, and the request served: care goes first."""
        try:
            _record(association, context, request, trail)
        except Exception:
            logger.exception("a request has no audit message")
        serve(association, context, request)

    return serve_audited


def _record(association: AcceptedAssociation, context: PresentationContext, request: Any, trail: AuditTrail) -> None:
    caller, address = str(association.requestor.ae_title), str(association.requestor.address)
    identifier = b"" if request.Identifier is None else request.Identifier.getvalue()
    if isinstance(request, C_FIND):
        trail.queried(caller, address, str(context.abstract_syntax), identifier)
    else:
        trail.retrieved(caller, address, _study_of(identifier, UID(context.transfer_syntax[0])))


def _study_of(identifier: bytes, transfer_syntax: UID) -> str:
    """Study Instance UID of an identifier, several joined by a backslash; "" if it names none or cannot be read."""
    keys = decode(BytesIO(identifier), transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    value = keys.get("StudyInstanceUID") or ""
    return value if isinstance(value, str) else "\\".join(value)
