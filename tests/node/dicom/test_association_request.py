"""Association requests as peers send them, slips and all."""

import struct

import pytest
from pynetdicom.pdu_primitives import (
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)

from node.dicom.association_request import (
    DEFAULT_MAXIMUM_LENGTH,
    AssociationRequest,
    ProposedContext,
    read_association_request,
)
from node.dicom.message_sink import ProtocolError
from tests.support.dicom.wire import IMPLICIT, VERIFICATION, associate_rq, item

CONTEXTS = [(VERIFICATION, (IMPLICIT,))]
LENGTH, CLASS = item(0x51, struct.pack(">I", 16384)), item(0x52, b"2.25.9")


def read(pdu: bytes) -> AssociationRequest:
    return read_association_request(pdu[6:])


def with_context(content: bytes) -> bytes:
    """A request whose only presentation context item has this content."""
    body = associate_rq([])[6:]
    return body[:68] + item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, content) + item(0x50, LENGTH + CLASS)


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (b"CT1             ", "CT1"),
        (b"  CT1           ", "CT1"),
        (b"CT1" + bytes(13), "CT1"),
        (b"CT1\0garbage here", "CT1"),
        (b"CT\xe9           ", "CT?"),
        (b"A\\B             ", "A?B"),
        (b"A\nB             ", "A?B"),
        (b"                ", ""),
        (bytes(16), ""),
        (b"SIXTEEN-LETTERS!", "SIXTEEN-LETTERS!"),
    ],
)
def test_ae_titles_are_read_however_they_are_padded(written: bytes, title: str) -> None:
    request = read(associate_rq(CONTEXTS, called=written, calling=written))

    assert (request.called_ae_title, request.calling_ae_title) == (title, title)
    assert request.to_primitive().calling_ae_title == (title or "?")


@pytest.mark.parametrize(
    ("written", "name", "is_slip"),
    [
        (b"TOOLKIT 3.6.9", "TOOLKIT 3.6.9", False),
        (b"A" * 17, "A" * 16, True),
        (b"R\xf6ntgen 1", "R?ntgen 1", True),
        (b"A\\B 2.1", "A?B 2.1", True),
        (b"", None, False),
        (b" " * 20, None, True),
    ],
)
def test_a_version_name_is_informative_only(written: bytes, name: str | None, is_slip: bool) -> None:
    request = read(associate_rq(CONTEXTS, user=LENGTH + CLASS + item(0x55, written)))

    names = [one for one in request.user_information if isinstance(one, ImplementationVersionNameNotification)]
    assert [one.implementation_version_name for one in names] == ([] if name is None else [name])
    assert bool(request.slips) is is_slip


def test_unknown_items_are_skipped_and_noted() -> None:
    user = item(0x5F, b"abcd") + LENGTH + CLASS + item(0x99, bytes(range(20)))

    request = read(associate_rq(CONTEXTS, user=user))

    kinds = [type(one) for one in request.user_information]
    assert kinds == [MaximumLengthNotification, ImplementationClassUIDNotification]
    assert request.slips == ("user information item 5FH skipped", "user information item 99H skipped")


@pytest.mark.parametrize("kind", [0x52, 0x53, 0x54, 0x56, 0x57, 0x58])
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 9, bytes(range(7, 247, 6))])
def test_a_known_item_that_cannot_be_read_costs_itself_only(kind: int, content: bytes) -> None:
    request = read(associate_rq(CONTEXTS, user=LENGTH + item(kind, content)))

    assert request.to_primitive().maximum_length_received == 16384


def test_roles_are_read() -> None:
    uid = VERIFICATION.encode()
    role = item(0x54, struct.pack(">H", len(uid)) + uid + b"\1\0")

    request = read(associate_rq(CONTEXTS, user=LENGTH + role))

    [found] = [one for one in request.user_information if isinstance(one, SCP_SCU_RoleSelectionNegotiation)]
    assert (found.sop_class_uid, found.scu_role, found.scp_role) == (VERIFICATION, True, False)


@pytest.mark.parametrize("content", [None, b"", b"\0\0\0\1", b"\0\0\0\7", b"\0\0\1"])
def test_a_maximum_length_in_which_nothing_fits_gives_way_to_the_usual_one(content: bytes | None) -> None:
    request = read(associate_rq(CONTEXTS, user=CLASS + (b"" if content is None else item(0x51, content))))

    assert request.to_primitive().maximum_length_received == DEFAULT_MAXIMUM_LENGTH


@pytest.mark.parametrize(
    "parts",
    [
        b"",
        item(0x30, VERIFICATION.encode()),
        item(0x40, IMPLICIT.encode()),
        item(0x30, b"") + item(0x40, b""),
        item(0x30, VERIFICATION.encode()) + item(0x40, b""),
        item(0x30, VERIFICATION.encode()) + b"\x40\0\xff\xff1.2",
        item(0x77, b"what is this"),
    ],
)
def test_a_context_without_its_parts_is_read_as_one_to_be_refused(parts: bytes) -> None:
    [context] = read_association_request(with_context(b"\1\0\0\0" + parts)).contexts

    assert context.context_id == 1
    assert not (context.abstract_syntax and context.transfer_syntaxes)


def test_contexts_are_read_in_order() -> None:
    request = read(associate_rq([(VERIFICATION, (IMPLICIT, "1.2.3\0")), ("1.2", ())]))

    assert request.contexts == (
        ProposedContext(1, VERIFICATION, (IMPLICIT, "1.2.3")),
        ProposedContext(3, "1.2", ()),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(67),
        associate_rq(CONTEXTS)[6:-1],
        associate_rq(CONTEXTS)[6:] + b"\x50",
        associate_rq(CONTEXTS, user=LENGTH + b"\x52\0\xff\xff1.2")[6:],
        associate_rq(CONTEXTS * 200)[6:],
        with_context(b""),
    ],
)
def test_what_cannot_be_told_apart_is_no_request(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_association_request(body)
