"""How a C-FIND request is read: by its SOP class, by what was negotiated, and by settings of node and caller."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID

from node.access.callers import OWN_PROGRAMS, Caller
from node.access.disclosure import check_matchable
from node.dicom.hierarchy import tag_of
from node.dicom.private import SIMILARITY_FIND, Element, PrivateBlock
from node.dicom.sop_classes import PATIENT_ROOT_FIND, REPOSITORY_QUERY, Extension
from node.errors import Refusal, Status
from node.options.access import Disclosure, Right
from node.peers import RemoteEntity
from node.query.question import Question
from node.settings import Settings


@dataclass(frozen=True, slots=True)
class QueryRules:
    """What is to be known of a request beside its identifier.

    Attributes
    ----------
    patient_root
        True if the information model has a PATIENT level.
    example_mandatory
        True for our own SOP class, in which a query has an example.
    has_record_keys
        True for Repository Query, whose answers are pages in the order of record keys (PS3.4 C.6.4).
    relational
        True if relational queries were negotiated, or are part of the SOP class (PS3.4 C.4.1.2.2).
    refuses_relational
        True to refuse a query that needs relational queries where these are not `relational`.
    combines_date_time
        True if ranges of a date and of its time are matched as one (PS3.4 C.2.2.2.5.3).
    matches_all_values
        True if each value of a key must match one value of an attribute that may have several (PS3.4 C.2.2.2.8);
        else one of them is enough.
    empty_matches
        True if an empty stored value of a Required key matches any key (PS3.4 C.2.2.1.2).
    is_view
        True for the view, which answers queries for a study with its look-alikes.
    refuses_unsupported
        True to refuse a query with a key that is not matched or not returned, instead of flagging its responses.
    returns_availability
        True if Instance Availability is a key that is returned.
    caller
        Who sent it: what it may ask for, and what its answers may hold.
    """

    patient_root: bool = False
    example_mandatory: bool = False
    has_record_keys: bool = False
    relational: bool = False
    refuses_relational: bool = False
    combines_date_time: bool = False
    matches_all_values: bool = False
    empty_matches: bool = True
    is_view: bool = False
    refuses_unsupported: bool = False
    returns_availability: bool = False
    caller: Caller = OWN_PROGRAMS


STUDY_ROOT = QueryRules()
"""Study Root without extended negotiation, and with the usual settings."""


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


def permitted_question(question: Question | None, block: PrivateBlock, rules: QueryRules) -> Question | None:
    """The question of a query (None in an ordinary one), if its caller may ask it.

    Raises
    ------
    Refusal
        0124: the caller has no right to it, or its answers, masked as they are, would tell what they mask.
    """
    is_ordinary = question is None and not rules.is_view  # the view answers with look-alikes
    rules.caller.check(Right.FIND if is_ordinary else Right.SIMILAR)
    if rules.caller.disclosure is not Disclosure.FULL:
        if rules.has_record_keys:
            raise Refusal(Status.NOT_AUTHORIZED, "record keys name patients: not for this caller")
        if question is not None and question.maximum_distance is not None:
            tag = block.tag(Element.MAXIMUM_DISTANCE)
            raise Refusal(Status.NOT_AUTHORIZED, "distances are not shown to this caller: no maximum", tag)
    return question


def permitted_texts(texts: Mapping[str, str], rules: QueryRules) -> Mapping[str, str]:
    """The keys of a query by keyword, if its caller may match by each that restricts it; else a refusal (0124)."""
    for keyword, text in texts.items():
        if text.strip("* "):
            try:
                check_matchable(rules.caller.disclosure, keyword)
            except Refusal as refusal:
                raise Refusal(refusal.status, refusal.comment, tag_of(keyword)) from refusal
    return texts
