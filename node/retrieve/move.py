"""C-MOVE: the node passes a request on to the source PACS, which sends the images straight to the destination."""

import logging

from pynetdicom.presentation import build_context

from node.errors import Refusal, Status
from node.retrieve.caller import RetrieveCall, SubOperations
from node.retrieve.hidden import HiddenInstances
from node.retrieve.relay import failed_instances
from node.retrieve.source import MESSAGE_ID, CancelWatch, SourceArchive
from node.settings import Settings

logger = logging.getLogger(__name__)


class MoveRelay:
    """Relays C-MOVE requests to the source PACS (PS3.4 C.4.2)."""

    def __init__(self, settings: Settings, source: SourceArchive, hidden: HiddenInstances) -> None:
        self._settings, self._source, self._hidden = settings, source, hidden

    def relay(self, call: RetrieveCall) -> None:
        """Pass a request on, and each response back.

        Raises
        ------
        Refusal
            A801: images may not be sent to the destination. A700, C000: the identifier cannot be read.
        PeerError
            The source PACS does not answer, refuses C-MOVE, or went away.
        CallerGoneError, RetrievalCancelledError
            See `CancelWatch`.
        """
        destination = move_destination(self._settings, call)
        identifier, model = call.identifier(), call.model
        if not self._hidden.remove_from(identifier):
            call.respond(Status.SUCCESS, SubOperations(completed=0, failed=0, warning=0))
            return
        with self._source.association([build_context(model)]) as association:
            self._source.check_accepts(association, model)
            association.send_c_move(identifier, destination, model, MESSAGE_ID)  # its responses are read below
            for response in self._source.responses(association, CancelWatch(call, association)):
                failed = failed_instances(response, association, model)
                call.respond(response.Status, SubOperations.of(response), response.ErrorComment or "", failed)
        logger.info("C-MOVE of %s to %s ended with status %04X", call.caller, destination, response.Status)


def move_destination(settings: Settings, call: RetrieveCall) -> str:
    """AE title of the destination of a C-MOVE request.

    A source PACS trusts the node, not its callers: so it is the node that must know where images may go.

    Raises
    ------
    Refusal
        A801: images may not be sent there.
    """
    destination = str(getattr(call.request, "MoveDestination", None) or "").strip()
    peer = settings.peers.get(destination)
    if peer is None or not peer.move_destination:
        raise Refusal(Status.MOVE_DESTINATION_UNKNOWN, f"{destination} is no move destination in our settings")
    return destination
