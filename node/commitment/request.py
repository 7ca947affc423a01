"""Requests for storage commitment: the action information of an N-ACTION (PS3.4 J.3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID

from node.corrections.attribute_list import items_of, read_attribute_list, uid_of
from node.errors import Refusal, Status

COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Well-known SOP Instance UID of the Storage Commitment Push Model (PS3.4 J.3.5)."""
REQUEST_COMMITMENT: Final = 1
"""The only Action Type ID (PS3.4 table J.3-1)."""


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A request for storage commitment: the instances that a peer wants to know safe.

    Attributes
    ----------
    references
        SOP Class UID by SOP Instance UID.
    """

    transaction_uid: str
    references: Mapping[str, str]


def read_request(instance_uid: str, action_type: int, encoded: bytes, transfer_syntax: UID) -> CommitmentRequest:
    """Read an N-ACTION request.

    Raises
    ------
    Refusal
        0112: another SOP instance. 0123: another action. 0110, 0213: no data set, or one that is too large. 0115: an
        attribute is missing, or its value is not one that the standard allows.
    """
    if instance_uid != COMMITMENT_INSTANCE:
        raise Refusal(Status.NO_SUCH_INSTANCE, f"the SOP instance is {COMMITMENT_INSTANCE}")
    if action_type != REQUEST_COMMITMENT:
        raise Refusal(Status.NO_SUCH_ACTION, f"the only Action Type ID is {REQUEST_COMMITMENT}")
    try:
        information = read_attribute_list(encoded, transfer_syntax)
        references = {
            uid_of(item, "ReferencedSOPInstanceUID"): uid_of(item, "ReferencedSOPClassUID")
            for item in items_of(information, "ReferencedSOPSequence")
        }
        return CommitmentRequest(uid_of(information, "TransactionUID"), references)
    except Refusal as refusal:
        if refusal.status in (Status.PROCESSING_FAILURE, Status.RESOURCE_LIMITATION):
            raise
        raise Refusal(Status.INVALID_ARGUMENT_VALUE, refusal.comment) from refusal
