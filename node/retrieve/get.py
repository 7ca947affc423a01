"""C-GET: the node gets the images from the source PACS, and forwards each on the association of the caller."""

import logging

from pydicom.uid import UID
from pynetdicom import build_context, build_role

from node.errors import Status
from node.retrieve.caller import RetrieveCall, SubOperations
from node.retrieve.forward import Forwarder
from node.retrieve.hidden import HiddenInstances
from node.retrieve.relay import failed_instances
from node.retrieve.source import MESSAGE_ID, CancelWatch, SourceArchive
from node.settings import Settings

logger = logging.getLogger(__name__)


class GetRelay:
    """Relays C-GET requests to the source PACS (PS3.4 C.4.3)."""

    def __init__(self, settings: Settings, source: SourceArchive, hidden: HiddenInstances) -> None:
        self._settings, self._source, self._hidden = settings, source, hidden

    def relay(self, call: RetrieveCall) -> None:
        """Pass a request on, forward each image that comes, and pass each response back.

        The source PACS is offered the presentation contexts in which the caller takes images, so that nothing needs to
        be decoded or converted here.

        Raises
        ------
        Refusal
            A702: the caller takes no images on its association. A700, C000: the identifier cannot be read.
        PeerError
            The source PACS does not answer, refuses C-GET, or went away.
        CallerGoneError, RetrievalCancelledError
            See `CancelWatch`.
        """
        call.check_takes_instances()
        storage = call.storage_contexts
        identifier, model = call.identifier(), call.model
        if not self._hidden.remove_from(identifier):
            call.respond(Status.SUCCESS, SubOperations(completed=0, failed=0, warning=0))
            return
        contexts = [build_context(context.abstract_syntax or "", context.transfer_syntax[0]) for context in storage]
        roles = [build_role(sop_class, scp_role=True) for sop_class in {UID(c.abstract_syntax or "") for c in storage}]
        forwarder = Forwarder(self._settings, call, self._hidden)
        with self._source.association([build_context(model), *contexts], roles, forwarder) as association:
            self._source.check_accepts(association, model)
            association.send_c_get(identifier, model, MESSAGE_ID)  # its responses are read below
            for response in self._source.responses(association, CancelWatch(call, association)):
                failed = failed_instances(response, association, model)
                counts, status = SubOperations.of(response), response.Status
                if call.is_cancelled and status != Status.PENDING:
                    status, counts, failed = Status.CANCEL, forwarder.counts(call.counts), forwarder.failed
                call.respond(status, counts, response.ErrorComment or "", failed)
        logger.info("C-GET of %s ended with status %04X", call.caller, status)
