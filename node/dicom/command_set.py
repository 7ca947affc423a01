"""DIMSE command sets on the wire: requests are read, responses are written (PS3.7 sections 6.3.1 and 9.3, annex E)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.tag import BaseTag

from node.errors import Refusal, Status

ELEMENT: Final = struct.Struct("<HHI")  # Implicit VR Little Endian: group, element, length (PS3.7 6.3.1)
UNSIGNED: Final = struct.Struct("<H")
PDU_OF_ONE_VALUE: Final = struct.Struct(">BxIIBB")
"""P-DATA-TF with one value (PS3.8 9.3.5): type, length; length of the value, presentation context, control header."""
P_DATA_TF: Final = 4
COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 annex E.2)."""

AFFECTED_SOP_CLASS_UID, REQUESTED_SOP_CLASS_UID = 0x0002, 0x0003
COMMAND_FIELD, MESSAGE_ID, MESSAGE_ID_RESPONDED = 0x0100, 0x0110, 0x0120
DATA_SET_TYPE, STATUS, OFFENDING_ELEMENT, ERROR_COMMENT = 0x0800, 0x0900, 0x0901, 0x0902
PRIORITY, AFFECTED_SOP_INSTANCE_UID = 0x0700, 0x1000
C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ: Final = 0x0100
N_ACTION_RQ: Final = 0x0130
N_CREATE_RQ: Final = 0x0140
RESPONSE: Final = 0x8000  # a response's Command Field is the request's with this bit
NO_DATA_SET, DATA_SET_FOLLOWS = 0x0101, 0x0001
VERIFICATION: Final = "1.2.840.10008.1.1"


class CommandError(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True, slots=True)
class Request:
    """The elements of a DIMSE request that a response repeats; the UIDs are as the peer sent them, unchecked.

    Attributes
    ----------
    command_field
        Which request it is, such as `C_STORE_RQ`.
    sop_class_uid, sop_instance_uid
        Affected (or Requested) SOP Class UID and Affected SOP Instance UID without padding, "" where absent.
    has_data_set
        True if a data set follows.
    """

    command_field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def read_command(command_set: bytes) -> dict[int, bytes]:
    """Values of a command set by element number; all are of group 0000.

    Raises
    ------
    CommandError
        A length is wrong, or an element is of another group.
    """
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(command_set):
        if offset + ELEMENT.size > len(command_set):
            raise CommandError("the command set ends within an element")
        group, element, length = ELEMENT.unpack_from(command_set, offset)
        offset += ELEMENT.size + length
        if group or offset > len(command_set):
            raise CommandError(f"a command set cannot hold element ({group:04X},{element:04X}) of {length} bytes")
        elements[element] = command_set[offset - length : offset]
    return elements


def without_status_detail(command_set: bytes) -> bytes:
    """The elements of group 0000 of a command set.

    Orthanc and other programs on DCMTK append the Failed SOP Instance UID List of a response as its "status detail".
    """
    offset = 0
    while offset + ELEMENT.size <= len(command_set):
        group, _, length = ELEMENT.unpack_from(command_set, offset)
        if group:
            return command_set[:offset]
        offset += ELEMENT.size + length
    return command_set


def read_request(elements: dict[int, bytes]) -> Request | None:
    """The request that a command set is, None if it is a response or a C-CANCEL.

    Parameters
    ----------
    elements
        As `read_command` returns them.

    Raises
    ------
    CommandError
        The Command Field is missing, or it is a request without a Message ID.
    """
    command_field, message_id = _number(elements, COMMAND_FIELD), _number(elements, MESSAGE_ID)
    if command_field is None:
        raise CommandError("the command set has no Command Field")
    if command_field & RESPONSE or command_field == C_CANCEL_RQ:
        return None
    if message_id is None:
        raise CommandError("the request has no Message ID")
    sop_class = AFFECTED_SOP_CLASS_UID if AFFECTED_SOP_CLASS_UID in elements else REQUESTED_SOP_CLASS_UID
    return Request(
        command_field,
        message_id,
        _uid(elements, sop_class),
        _uid(elements, AFFECTED_SOP_INSTANCE_UID),
        has_data_set(elements),
    )


def has_data_set(elements: dict[int, bytes]) -> bool:
    """True if a data set follows the command set."""
    return _number(elements, DATA_SET_TYPE) != NO_DATA_SET


def echo_request() -> bytes:
    """Command set of a C-ECHO request (PS3.7 9.3.5.1)."""
    body = _text(AFFECTED_SOP_CLASS_UID, VERIFICATION, b"\0") + _unsigned(COMMAND_FIELD, C_ECHO_RQ)
    body += _unsigned(MESSAGE_ID, 1) + _unsigned(DATA_SET_TYPE, NO_DATA_SET)
    return _element(0, struct.pack("<I", len(body))) + body


def store_request(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Command set of a C-STORE request of medium priority, whose data set follows (PS3.7 9.3.1.1)."""
    body = _text(AFFECTED_SOP_CLASS_UID, sop_class_uid, b"\0") + _unsigned(COMMAND_FIELD, C_STORE_RQ)
    body += _unsigned(MESSAGE_ID, message_id) + _unsigned(PRIORITY, 0) + _unsigned(DATA_SET_TYPE, DATA_SET_FOLLOWS)
    body += _text(AFFECTED_SOP_INSTANCE_UID, sop_instance_uid, b"\0")
    return _element(0, struct.pack("<I", len(body))) + body


def response_to(request: Request, refusal: Refusal | None) -> bytes:
    """Command set of a response without data set: success, or the status of a refusal (PS3.7 annex C)."""
    if refusal is None:
        return final_response(request, Status.SUCCESS)
    return final_response(request, refusal.status, refusal.comment, refusal.offending)


def final_response(request: Request, status: int, comment: str = "", offending: BaseTag | None = None) -> bytes:
    """Command set of a response without data set (PS3.7 9.3.1.2, 9.3.2.2, annex C).

    Parameters
    ----------
    comment
        Error Comment; left out if it is empty.
    offending
        Tag of the element at fault, or None.
    """
    body = _text(AFFECTED_SOP_CLASS_UID, request.sop_class_uid, b"\0") if request.sop_class_uid else b""
    body += _unsigned(COMMAND_FIELD, request.command_field | RESPONSE)
    body += _unsigned(MESSAGE_ID_RESPONDED, request.message_id)
    body += _unsigned(DATA_SET_TYPE, NO_DATA_SET) + _unsigned(STATUS, status)
    if offending is not None:
        body += _element(OFFENDING_ELEMENT, struct.pack("<HH", offending.group, offending.element))
    if comment:
        body += _text(ERROR_COMMENT, comment, b" ")
    if request.sop_instance_uid:
        body += _text(AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid, b"\0")
    return _element(0, struct.pack("<I", len(body))) + body


def pending_response(sop_class_uid: str, message_id: int, status: int) -> bytes:
    """Command set of a C-FIND response that an identifier follows (PS3.7 9.3.2.2)."""
    body = _text(AFFECTED_SOP_CLASS_UID, sop_class_uid, b"\0") + _unsigned(COMMAND_FIELD, C_FIND_RQ | RESPONSE)
    body += _unsigned(MESSAGE_ID_RESPONDED, message_id)
    body += _unsigned(DATA_SET_TYPE, DATA_SET_FOLLOWS) + _unsigned(STATUS, status)
    return _element(0, struct.pack("<I", len(body))) + body


def command_pdus(context_id: int, command_set: bytes, maximum_length: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs that carry a command set.

    Parameters
    ----------
    maximum_length
        Largest PDU that the peer receives, in bytes without its header; 0 means no limit (PS3.8 annex D.1).
    """
    return _pdus(context_id, command_set, maximum_length, COMMAND)


def data_pdus(context_id: int, data_set: bytes, maximum_length: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs that carry a data set; parameters as of `command_pdus`."""
    return _pdus(context_id, data_set, maximum_length, 0)


def _pdus(context_id: int, content: bytes, maximum_length: int, kind: int) -> Iterator[bytes]:
    size = max(1, maximum_length - 6) if maximum_length else len(content)
    for start in range(0, len(content), size):
        part = content[start : start + size]
        control = kind | (LAST if start + size >= len(content) else 0)
        yield PDU_OF_ONE_VALUE.pack(P_DATA_TF, len(part) + 6, len(part) + 2, context_id, control) + part


def _number(elements: dict[int, bytes], element: int) -> int | None:
    value = elements.get(element, b"")
    return int(UNSIGNED.unpack(value)[0]) if len(value) == UNSIGNED.size else None


def _uid(elements: dict[int, bytes], element: int) -> str:
    return elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _element(element: int, value: bytes) -> bytes:
    return ELEMENT.pack(0, element, len(value)) + value


def _unsigned(element: int, value: int) -> bytes:
    return _element(element, UNSIGNED.pack(value))


def _text(element: int, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return _element(element, value + padding * (len(value) % 2))
