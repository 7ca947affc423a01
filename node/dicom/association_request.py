"""A-ASSOCIATE-RQ as peers send it: read leniently, so that a peer's slips cost no more than what they concern.

pynetdicom's own decoder refuses the whole request for an AE title that is not ASCII, a long version name or an item of
a later edition. PS3.8 9.3.1 has unknown items ignored; other slips are skipped and counted here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from pydicom.uid import UID
from pynetdicom.pdu_items import PDU_ITEM_TYPES
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    UserIdentityNegotiation,
)

from node.access.callers import Origin
from node.dicom.message_sink import ProtocolError

FIXED: Final = struct.Struct(">H2x16s16s32x")  # protocol version, called and calling AE title (PS3.8 table 9-11)
ITEM: Final = struct.Struct(">BxH")  # type, length
APPLICATION_CONTEXT_ITEM, CONTEXT_ITEM, ABSTRACT_SYNTAX_ITEM, TRANSFER_SYNTAX_ITEM = 0x10, 0x20, 0x30, 0x40
USER_INFORMATION_ITEM, MAXIMUM_LENGTH_ITEM, VERSION_NAME_ITEM = 0x50, 0x51, 0x55
READ_BY_PYNETDICOM: Final = (0x52, 0x53, 0x54, 0x56, 0x57, 0x58)
"""Implementation class, asynchronous operations, roles, extended negotiation, user identity (PS3.7 annex D.3.3)."""

PASSCODE, TOKEN = 2, 5
"""User Identity Types (PS3.7 table D.3-14): name with passcode, and JSON Web Token."""
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"  # PS3.7 annex A.2.1
DEFAULT_MAXIMUM_LENGTH: Final = 16384
"""Largest PDU for a peer that says none, or a size in which nothing fits."""
MIN_MAXIMUM_LENGTH: Final = 16
VERSION_NAME_LENGTH: Final = 16  # PS3.7 D.3.3.2.3


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A proposed presentation context; without an abstract syntax or transfer syntaxes it will be refused."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """The contents of an A-ASSOCIATE-RQ.

    Attributes
    ----------
    calling_ae_title, called_ae_title
        Without padding; a character that an AE title cannot hold is a question mark. "" if blank.
    application_context
        UID of the application context, "" if the request has none.
    user_information
        The user information items that could be read, as pynetdicom's primitives.
    slips
        Short names of the faults that were skipped or mended; they are counted by these names.
    """

    protocol_version: int
    called_ae_title: str
    calling_ae_title: str
    application_context: str
    contexts: tuple[ProposedContext, ...]
    user_information: tuple[Any, ...]
    slips: tuple[str, ...]

    @property
    def identity(self) -> UserIdentityNegotiation | None:
        """Who uses the program that asks, if it says so (PS3.7 D.3.3.7)."""
        return next((item for item in self.user_information if isinstance(item, UserIdentityNegotiation)), None)

    def identity_responses(self) -> Iterator[UserIdentityNegotiation]:
        """Yield the response to a passcode or token that was accepted, if one is asked for (PS3.7 table D.3-15)."""
        identity = self.identity
        if identity is None or identity.user_identity_type not in (PASSCODE, TOKEN):
            return
        if identity.positive_response_requested:
            response = UserIdentityNegotiation()
            response.server_response = b""
            yield response

    def shown_by(self, origin: Origin) -> Origin:
        """The origin of the connection, with the passcode or token of the request; other kinds prove nothing."""
        identity = self.identity
        if identity is None:
            return origin
        fields = identity.primary_field, identity.secondary_field
        first, second = ((field or b"").decode(errors="replace") for field in fields)
        if identity.user_identity_type == PASSCODE:
            return replace(origin, login=(first, second))
        return replace(origin, token=first.strip()) if identity.user_identity_type == TOKEN else origin

    def to_primitive(self) -> A_ASSOCIATE:
        """The request as pynetdicom's state machine passes it on; its contexts stay here."""
        primitive = A_ASSOCIATE()
        primitive.application_context_name = UID(APPLICATION_CONTEXT)
        primitive.called_ae_title = self.called_ae_title or "?"
        primitive.calling_ae_title = self.calling_ae_title or "?"
        primitive.user_information = list(self.user_information)
        return primitive


class RequestPDU:
    """An A-ASSOCIATE-RQ in the form in which pynetdicom's state machine takes it (action AE-6)."""

    protocol_version = 1  # `Acceptor` checks the real one, and counts

    def __init__(self, request: AssociationRequest) -> None:
        self.to_primitive = request.to_primitive


def read_association_request(body: bytes) -> AssociationRequest:
    """Read the body of an A-ASSOCIATE-RQ, which is what follows the PDU's length (PS3.8 9.3.2).

    Raises
    ------
    ProtocolError
        An item is longer than what holds it, or a presentation context ID is proposed twice.
    """
    if len(body) < FIXED.size:
        raise ProtocolError("A-ASSOCIATE-RQ ends within its fixed fields")
    version, called, calling = FIXED.unpack_from(body)
    application_context, contexts, user, slips = "", [], [], []
    for kind, content in _items(body[FIXED.size :]):
        if kind == APPLICATION_CONTEXT_ITEM:
            application_context = _uid(content)
        elif kind == CONTEXT_ITEM:
            contexts.append(_context(content))
        elif kind == USER_INFORMATION_ITEM:
            user += list(_items(content))
        else:
            slips.append("unknown item skipped")
    numbers = [context.context_id for context in contexts]
    if len(set(numbers)) < len(numbers):
        raise ProtocolError("a presentation context ID is proposed twice")
    items, user_slips = _user_information(user)
    return AssociationRequest(
        version, _ae_title(called), _ae_title(calling), application_context, tuple(contexts), items,
        (*slips, *user_slips),
    )  # fmt: skip


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each item."""
    offset = 0
    while offset < len(content):
        if offset + ITEM.size > len(content):
            raise ProtocolError("A-ASSOCIATE-RQ ends within an item")
        kind, length = ITEM.unpack_from(content, offset)
        offset += ITEM.size + length
        if offset > len(content):
            raise ProtocolError(f"A-ASSOCIATE-RQ has an item {kind:02X}H that is longer than what holds it")
        yield kind, content[offset - length : offset]


def _context(content: bytes) -> ProposedContext:
    """A presentation context item (PS3.8 9.3.2.2); its sub-items may be missing, or none at all."""
    if not content:
        raise ProtocolError("a presentation context without an ID")
    abstract_syntax, transfer_syntaxes = "", []
    try:
        for kind, value in _items(content[4:]):
            if kind == ABSTRACT_SYNTAX_ITEM:
                abstract_syntax = _uid(value)
            elif kind == TRANSFER_SYNTAX_ITEM and _uid(value):
                transfer_syntaxes.append(_uid(value))
    except ProtocolError:  # the item's own length is right: the next one can be read, and this one is refused
        return ProposedContext(content[0], "", ())
    return ProposedContext(content[0], abstract_syntax, tuple(transfer_syntaxes))


def _user_information(items: list[tuple[int, bytes]]) -> tuple[tuple[Any, ...], list[str]]:
    """Primitives of the user information that can be read, and a note for each item that cannot."""
    read: list[Any] = []
    slips: list[str] = []
    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = DEFAULT_MAXIMUM_LENGTH
    for kind, content in items:
        if kind == MAXIMUM_LENGTH_ITEM and len(content) == 4 and _is_usable(length := int.from_bytes(content)):
            maximum_length.maximum_length_received = length
        elif kind == VERSION_NAME_ITEM:
            read += _version_name(content)
            if len(content) > VERSION_NAME_LENGTH or not content.isascii() or b"\\" in content:
                slips.append("implementation version name shortened")
        elif kind in READ_BY_PYNETDICOM and (item := _read_by_pynetdicom(kind, content)) is not None:
            read.append(item)
        else:
            slips.append(f"user information item {kind:02X}H skipped")
    return (maximum_length, *read), slips


def _is_usable(maximum_length: int) -> bool:
    """True if a PDU of this length can carry something; 0 means no limit."""
    return maximum_length == 0 or maximum_length >= MIN_MAXIMUM_LENGTH


def _version_name(content: bytes) -> list[ImplementationVersionNameNotification]:
    """The version name, as far as PS3.7 allows it: it is informative only."""
    name = _printable(content).replace("\\", "?")[:VERSION_NAME_LENGTH].strip()
    if not name:
        return []
    item = ImplementationVersionNameNotification()
    item.implementation_version_name = name
    return [item]


def _read_by_pynetdicom(kind: int, content: bytes) -> Any | None:
    """An item of user information as a primitive, None if it cannot be read."""
    item: Any = PDU_ITEM_TYPES[kind]()
    try:
        item.decode(ITEM.pack(kind, len(content)) + content)
        return item.to_primitive()
    except Exception:  # decoding arbitrary bytes raises anything; the caller counts the item as skipped
        return None


def _ae_title(content: bytes) -> str:
    """An AE title; spaces around it mean nothing, and old consoles pad it with NUL."""
    return _printable(content.split(b"\0")[0]).replace("\\", "?").strip()


def _uid(content: bytes) -> str:
    return _printable(content.rstrip(b"\0 "))


def _printable(content: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in content)
