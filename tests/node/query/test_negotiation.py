"""Association requests are rejected with a reason or accepted context by context, and nothing holds a slot for ever."""

import struct
import time
from collections.abc import Iterator

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import build_role

from node.ingest.refusals import read_refusals
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.wire import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    SECONDARY_CAPTURE,
    STORE,
    STUDY_ROOT_FIND,
    VERIFICATION,
    Wire,
    associate_rq,
    item,
    p_data,
    pdu,
)
from tests.support.running import wait_until

CONTEXTS = [(VERIFICATION, (IMPLICIT,))]
ACCEPTED, NO_REASON, ABSTRACT_SYNTAX, TRANSFER_SYNTAX = 0, 2, 3, 4
WORKLIST, COMMITMENT, UPS_PULL = "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.34.6.3"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), items=[]) as node:
        yield node


def answer(node: Node, request: bytes) -> tuple[int, bytes]:
    """Type and content of the PDU that answers a request."""
    with Wire.open(node.settings.host, node.settings.port) as wire:
        wire.send(request)
        received = wire.receive()
        assert received is not None
        return received


def results(content: bytes) -> dict[int, int]:
    """Result of each presentation context of an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""
    found, offset = {}, 68
    while offset < len(content):
        kind, length = struct.unpack_from(">BxH", content, offset)
        if kind == 0x21:
            found[content[offset + 4]] = content[offset + 6]
        offset += 4 + length
    return dict(sorted(found.items()))


def counted(node: Node) -> dict[tuple[str, str], int]:
    node.receiver.refusals.write()
    return {(one.reason, one.calling_ae_title): one.count for one in read_refusals(node.settings.run_path)}


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (associate_rq(CONTEXTS, version=2), (1, 2, 2), "protocol version not supported"),
        (associate_rq(CONTEXTS, version=0), (1, 2, 2), "protocol version not supported"),
        (
            associate_rq(CONTEXTS, application_context="1.2.840.10008.3.1.1.2"),
            (1, 1, 2),
            "application context name not supported",
        ),
        (associate_rq(CONTEXTS, application_context=""), (1, 1, 2), "application context name not supported"),
        (associate_rq(CONTEXTS, called=b"OTHER"), (1, 1, 7), "called AE title not recognized"),
        (associate_rq(CONTEXTS, called=bytes(16)), (1, 1, 7), "called AE title not recognized"),
        (associate_rq(CONTEXTS, calling=b" " * 16), (1, 1, 3), "calling AE title is blank"),
        (associate_rq(CONTEXTS, calling=bytes(16)), (1, 1, 3), "calling AE title is blank"),
        (associate_rq([]), (1, 1, 1), "no presentation context is proposed"),
    ],
)
def test_a_request_that_cannot_be_served_is_rejected_with_its_reason_and_counted(
    request_: bytes, code: tuple[int, int, int], reason: str, node: Node
) -> None:
    before = sum(count for (counted_reason, _), count in counted(node).items() if counted_reason.endswith(reason))

    kind, content = answer(node, request_)

    assert (kind, tuple(content[1:4])) == (ASSOCIATE_RJ, code)
    assert sum(n for (counted_reason, _), n in counted(node).items() if counted_reason.endswith(reason)) == before + 1


@pytest.mark.parametrize(
    "request_",
    [
        associate_rq(CONTEXTS, version=3),
        associate_rq(CONTEXTS, version=0xFFFF),
        associate_rq(CONTEXTS, called=b"LOOKALIKE".ljust(16, b"\0")),
        associate_rq(CONTEXTS, calling=b"CT".ljust(16, b"\0")),
        associate_rq(CONTEXTS, calling="RÖNTGEN".encode("latin-1")),
        associate_rq(CONTEXTS, calling=b"A\\B"),
        associate_rq(CONTEXTS, user=item(0x51, bytes(4)) + item(0x5F, b"abcd")),
        associate_rq(CONTEXTS, user=item(0x51, bytes(4)) + item(0x55, b"A" * 40)),
        associate_rq(CONTEXTS, user=item(0x54, b"\xff")),
        associate_rq(CONTEXTS, user=b""),
    ],
)
def test_a_sloppy_peer_is_served(request_: bytes, node: Node) -> None:
    with Wire.associate(node.settings.host, node.settings.port, request_) as wire:
        wire.send(p_data(1, 3, ECHO[12:]))
        assert wire.status() == 0


def test_slips_are_counted(node: Node) -> None:
    answer(node, associate_rq(CONTEXTS, calling=b"SLOPPY", user=item(0x5F, b"abcd")))

    assert ("association request mended: user information item 5FH skipped", "SLOPPY") in counted(node)


def test_garbage_is_aborted_and_counted(node: Node) -> None:
    kind, _ = answer(node, associate_rq(CONTEXTS * 200))

    assert kind == ABORT
    wait_until(
        lambda: ("association aborted: not what PS3.8 allows", "") in counted(node), "the abort to be counted", 5
    )


def test_contexts_are_accepted_for_what_the_node_offers_and_refused_for_the_rest(node: Node) -> None:
    proposed = [
        (VERIFICATION, (IMPLICIT,)),
        (SECONDARY_CAPTURE, (EXPLICIT,)),
        (STUDY_ROOT_FIND, ("1.2.840.10008.1.2.4.50",)),
        (WORKLIST, (IMPLICIT,)),
        (COMMITMENT, (IMPLICIT,)),
        (UPS_PULL, (IMPLICIT,)),
        ("1.3.12.2.1107.5.9.1", ("1.2.3.4",)),
        ("", (IMPLICIT,)),
        (VERIFICATION, ()),
        (SECONDARY_CAPTURE, ()),
        ("1." * 40 + "1", (IMPLICIT,)),
    ]

    kind, content = answer(node, associate_rq(proposed))

    assert kind == ASSOCIATE_AC
    assert list(results(content).values()) == [
        *(ACCEPTED, ACCEPTED, TRANSFER_SYNTAX),
        *(ABSTRACT_SYNTAX, ABSTRACT_SYNTAX, ABSTRACT_SYNTAX, ACCEPTED),
        *(ABSTRACT_SYNTAX, TRANSFER_SYNTAX, TRANSFER_SYNTAX, ABSTRACT_SYNTAX),
    ]


def test_a_context_whose_number_is_even_is_refused(node: Node) -> None:
    request = associate_rq(CONTEXTS)
    at = request.index(item(0x30, VERIFICATION.encode())) - 4

    kind, content = answer(node, request[:at] + b"\2" + request[at + 1 :])

    assert (kind, results(content)) == (ASSOCIATE_AC, {2: NO_REASON})


def test_a_peer_may_be_scu_and_never_scp(node: Node) -> None:
    both = build_role(SecondaryCaptureImageStorage, scu_role=True, scp_role=True)

    association = node.associate(SecondaryCaptureImageStorage, ext_neg=[both])
    association.release()

    role = association.acceptor.role_selection[SecondaryCaptureImageStorage]
    assert (role.scu_role, role.scp_role) == (True, False)


@pytest.mark.parametrize("broken", ["node.dicom.quotas.Quotas.take", "node.ingest.pressure.Pressure.rejects"])
def test_a_check_that_fails_admits_nobody(broken: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(broken, fails)

    kind, content = answer(node, STORE)

    assert (kind, tuple(content[1:4])) == (ASSOCIATE_RJ, (2, 2, 1))
    assert ("association: internal error while checking the request", "HOSTILE") in counted(node)


BREAKS = [
    "node.dicom.negotiation.Acceptor.send_accept",
    "node.dicom.negotiation._roles",
    "node.dicom.message_reader.MessageReader.read_values",
    "node.dicom.message_reader.MessageReader.abandon",
    "pynetdicom.association.Association._run_reactor",
    "pynetdicom.association.Association._serve_request",
]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_slot_is_given_back_whatever_breaks(broken: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(broken, breaks)
        for _ in range(node.settings.max_associations_each + 2):
            with Wire.open(node.settings.host, node.settings.port) as wire:
                wire.send(STORE)
                if wire.kind() == ASSOCIATE_AC:
                    wire.send(ECHO, pdu(0xFE, b""))
                    wire.connection.settimeout(5)
                    while wire.kind() not in (None, ABORT):
                        continue

    wait_until(lambda: is_admitted(node), "a slot", 10)


def is_admitted(node: Node) -> bool:
    return answer(node, STORE)[0] == ASSOCIATE_AC


def test_malformed_contexts_hold_no_slot_longer_than_their_connection(node: Node) -> None:
    request = associate_rq([(VERIFICATION, ())])
    for _ in range(node.settings.max_associations_each * 2):
        with Wire.open(node.settings.host, node.settings.port) as wire:
            wire.send(request)
            wire.kind()
            time.sleep(0.01)

    wait_until(lambda: is_admitted(node), "a slot", 10)
