"""C-FIND requests served in the threads of their associations: read, found, and answered with one final response."""

import logging

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext

from node.access.callers import OWN_PROGRAMS, Caller
from node.dicom.negotiation import AcceptedAssociation
from node.dicom.private import SIMILARITY_FIND
from node.dicom.sop_classes import PATIENT_ROOT_FIND, REPOSITORY_QUERY, Extension, accepted_extensions
from node.errors import Refusal, Status
from node.peers import RemoteEntity
from node.query.data_set import read_data_set
from node.query.find import Finder
from node.query.response_writer import ResponseWriter
from node.query.rules import QueryRules
from node.settings import Settings

logger = logging.getLogger(__name__)


class FindService:
    """Serves C-FIND for every caller of a node."""

    def __init__(self, settings: Settings, finder: Finder) -> None:
        self.settings, self.finder = settings, finder

    def serve(self, association: AcceptedAssociation, context: PresentationContext, request: C_FIND) -> None:
        """Answer one request: pending responses and the final one. Never raises."""
        writer = ResponseWriter(association, context, request)
        try:
            status = self._answer(association, context, request, writer)
        except Refusal as refusal:
            logger.warning("refused to find: %s", refusal)
            writer.finish(refusal.status, refusal.comment, refusal.offending)
        except Exception:
            logger.exception("internal error while finding")
            writer.finish(Status.INTERNAL_ERROR, "internal error: see the log of the node")
        else:
            writer.finish(status)

    def _answer(
        self,
        association: AcceptedAssociation,
        context: PresentationContext,
        request: C_FIND,
        writer: ResponseWriter,
    ) -> Status:
        """Write the pending responses; return the final status."""
        caller = self.settings.peers.get(association.requestor.ae_title)
        syntax, model = UID(context.transfer_syntax[0]), UID(context.abstract_syntax or "")
        proposed = association.requestor.sop_class_extended.get(model, b"")
        found = self.finder.find(
            _identifier(request, syntax, caller),
            query_rules(self.settings, model, accepted_extensions(proposed), caller, association.caller),
            implicit=syntax.is_implicit_VR,
            is_cancelled=writer.is_cancelled,
        )
        for status, identifier in found:
            if identifier is None:
                return status
            writer.write(status, identifier)
        return Status.SUCCESS


def query_rules(
    settings: Settings,
    model: UID,
    extensions: frozenset[Extension],
    peer: RemoteEntity | None,
    caller: Caller = OWN_PROGRAMS,
) -> QueryRules:
    """Rules for a request of an information model, by its caller and that one's entry in the table of peers, if any."""
    return QueryRules(
        patient_root=model == PATIENT_ROOT_FIND,
        example_mandatory=model == SIMILARITY_FIND,
        has_record_keys=model == REPOSITORY_QUERY,
        relational=model == SIMILARITY_FIND or Extension.RELATIONAL_QUERIES in extensions,
        refuses_relational=settings.relational_queries == "strict",
        combines_date_time=Extension.DATE_TIME_MATCHING in extensions,
        matches_all_values=Extension.MULTIPLE_VALUE_MATCHING in extensions,
        empty_matches=settings.empty_matches,
        refuses_unsupported=peer is not None and peer.unsupported_match == "refuse",
        returns_availability=settings.retain == "all",
        caller=caller,
    )


def _identifier(request: C_FIND, syntax: UID, caller: RemoteEntity | None) -> Dataset:
    """The request's identifier; one without a usable character set has the one that is set for its caller."""
    encoded = b"" if request.Identifier is None else request.Identifier.getvalue()
    return read_data_set(encoded, syntax, caller.assume_charset if caller else "")
