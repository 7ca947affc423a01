"""How a C-FIND request is read: by its SOP class, by what was negotiated, and by settings of node and caller."""

from dataclasses import dataclass


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


STUDY_ROOT = QueryRules()
"""Study Root without extended negotiation, and with the usual settings."""
