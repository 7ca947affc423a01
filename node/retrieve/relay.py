"""How every relayed retrieval is served: one final response, whatever the source PACS does."""

import logging
from collections.abc import Callable
from typing import Any

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext

from node.errors import PeerError, Refusal, Status
from node.query.data_set import read_data_set
from node.retrieve.caller import CallerGoneError, RetrievalCancelledError, RetrieveCall

logger = logging.getLogger(__name__)


def serve(
    relay: Callable[[RetrieveCall], None],
    association: Association,
    context: PresentationContext,
    request: C_GET | C_MOVE,
) -> None:
    """Have a request relayed, and answer what stops it: A702, A801, C1FF or FE00. Never raises."""
    call = RetrieveCall(association, context, request)
    try:
        relay(call)
    except CallerGoneError:
        logger.warning("%s of %s ends: the caller is gone", type(request).__name__, call.caller)
    except RetrievalCancelledError:
        call.respond(Status.CANCEL)
    except Refusal as refusal:
        call.refuse(refusal)
    except PeerError as error:
        call.refuse(Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, str(error)))
    except Exception:
        logger.exception("internal error while relaying a retrieval")
        call.refuse(Refusal(Status.INTERNAL_ERROR, "internal error: see the log of the node"))


def failed_instances(response: Any, association: Association, model: UID) -> list[str]:
    """SOP Instance UIDs that a final response of the source PACS lists as failed; none if it cannot be read."""
    if response.Identifier is None:
        return []
    syntax = next(c.transfer_syntax[0] for c in association.accepted_contexts if c.abstract_syntax == model)
    try:
        values = read_data_set(response.Identifier.getvalue(), syntax).get("FailedSOPInstanceUIDList") or []
    except Refusal as refusal:
        logger.warning("the list of failed instances cannot be read: %s", refusal)
        return []
    return [values] if isinstance(values, str) else list(values)
