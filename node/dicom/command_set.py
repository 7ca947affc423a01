"""C-STORE on the wire: requests read from and responses written as command sets (PS3.7 sections 6.3.1, 9.3.1)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from node.errors import Refusal, Status

ELEMENT: Final = struct.Struct("<HHI")  # Implicit VR Little Endian: group, element, length (PS3.7 6.3.1)
UNSIGNED: Final = struct.Struct("<H")
PDU_OF_ONE: Final = struct.Struct(
    ">BxIIBB"
)  # P-DATA-TF with one PDV (PS3.8 9.3.5): type, length; length, context, control
P_DATA_TF: Final = 4
COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 annex E.2)."""

AFFECTED_SOP_CLASS_UID, COMMAND_FIELD, MESSAGE_ID, MESSAGE_ID_RESPONDED = 0x0002, 0x0100, 0x0110, 0x0120
DATA_SET_TYPE, STATUS, OFFENDING_ELEMENT, ERROR_COMMENT = 0x0800, 0x0900, 0x0901, 0x0902
AFFECTED_SOP_INSTANCE_UID = 0x1000
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
NO_DATA_SET = 0x0101


class CommandError(ValueError):
    """The octets are no command set."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """Command set of a C-STORE request, the UIDs as they came, checked by nobody yet."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def read_command(command_set: bytes) -> dict[int, bytes]:
    """Values by element number, group 0000 only.

    Raises
    ------
    CommandError
        A length is wrong, or an element is of another group.
    """
    elements: dict[int, bytes] = {}
    at = 0
    while at < len(command_set):
        if at + ELEMENT.size > len(command_set):
            raise CommandError("the command set ends within an element")
        group, element, length = ELEMENT.unpack_from(command_set, at)
        at += ELEMENT.size + length
        if group or at > len(command_set):
            raise CommandError(f"element ({group:04X},{element:04X}) of {length} bytes has no place in a command set")
        elements[element] = command_set[at - length : at]
    return elements


def read_store_request(elements: dict[int, bytes]) -> StoreRequest | None:
    """The request, None where the command is another.

    Raises
    ------
    CommandError
        It is a C-STORE request without a Message ID.
    """
    if _number(elements, COMMAND_FIELD) != C_STORE_RQ:
        return None
    message_id = _number(elements, MESSAGE_ID)
    if message_id is None:
        raise CommandError("the request has no Message ID")
    sop_class_uid, sop_instance_uid = (
        elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")
        for element in (AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID)
    )
    return StoreRequest(message_id, sop_class_uid, sop_instance_uid, has_data_set(elements))


def has_data_set(elements: dict[int, bytes]) -> bool:
    """Whether a data set follows the command set."""
    return _number(elements, DATA_SET_TYPE) != NO_DATA_SET


def store_response(request: StoreRequest, refusal: Refusal | None) -> bytes:
    """Command set of the response: success, or why not (PS3.7 9.3.1.2, annex C)."""
    body = _text(AFFECTED_SOP_CLASS_UID, request.sop_class_uid, b"\0")
    body += _unsigned(COMMAND_FIELD, C_STORE_RSP) + _unsigned(MESSAGE_ID_RESPONDED, request.message_id)
    body += _unsigned(DATA_SET_TYPE, NO_DATA_SET) + _unsigned(STATUS, refusal.status if refusal else Status.SUCCESS)
    if refusal is not None:
        if refusal.offending is not None:
            body += _element(OFFENDING_ELEMENT, struct.pack("<HH", refusal.offending.group, refusal.offending.element))
        body += _text(ERROR_COMMENT, refusal.comment, b" ")
    body += _text(AFFECTED_SOP_INSTANCE_UID, request.sop_instance_uid, b"\0")
    return _element(0, struct.pack("<I", len(body))) + body


def command_pdus(context_id: int, command_set: bytes, maximum_length: int) -> Iterator[bytes]:
    """P-DATA-TF PDUs that carry a command set.

    Parameters
    ----------
    maximum_length
        Of a PDU that the peer receives, without its header; 0 if it does not mind (PS3.8 annex D.1).
    """
    size = max(1, maximum_length - 6) if maximum_length else len(command_set)
    for start in range(0, len(command_set), size):
        part = command_set[start : start + size]
        control = COMMAND | (LAST if start + size >= len(command_set) else 0)
        yield PDU_OF_ONE.pack(P_DATA_TF, len(part) + 6, len(part) + 2, context_id, control) + part


def _number(elements: dict[int, bytes], element: int) -> int | None:
    value = elements.get(element, b"")
    return int(UNSIGNED.unpack(value)[0]) if len(value) == UNSIGNED.size else None


def _element(element: int, value: bytes) -> bytes:
    return ELEMENT.pack(0, element, len(value)) + value


def _unsigned(element: int, value: int) -> bytes:
    return _element(element, UNSIGNED.pack(value))


def _text(element: int, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return _element(element, value + padding * (len(value) % 2))
