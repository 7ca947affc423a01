"""Pending responses on the wire: how many writes they take, how they are cut, and what ends them."""

import struct
from collections.abc import Iterator
from threading import Event

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.dicom.upper_layer import UpperLayer
from node.errors import Status
from node.query import find_service
from node.query.data_set import read_data_set
from tests.support.dicom.answering import MANY, Node, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, uid
from tests.support.dicom.wire import (
    C_FIND_RQ,
    COMMAND,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    NO_DATA_SET,
    P_DATA_TF,
    STUDY_ROOT_FIND,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    element,
    item,
    p_data,
)
from tests.support.running import wait_until

IMAGES = identifier("IMAGE", PatientID="C", SOPInstanceUID="", PatientName="", StudyDate="", InstanceNumber="")
CONTEXTS = [(STUDY_ROOT_FIND, (EXPLICIT,)), (VERIFICATION, (IMPLICIT,))]
C_CANCEL_RQ = 0x0FFF


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def asking(node: Node, maximum_length: int = 16384, request: Dataset = IMAGES) -> Wire:
    """An association of a peer that takes PDUs of this size, on which it sent a request."""
    user = item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"2.25.99")
    called = node.settings.ae_title.encode()
    wire = Wire.associate(node.settings.host, node.settings.port, associate_rq(CONTEXTS, user=user, called=called))
    encoded = encode(request, False, is_little_endian=True)
    assert encoded is not None
    wire.send(p_data(1, COMMAND | LAST, command(C_FIND_RQ, STUDY_ROOT_FIND)), p_data(1, LAST, encoded))
    return wire


def cancellation() -> bytes:
    body = element(0x0100, struct.pack("<H", C_CANCEL_RQ)) + element(0x0120, struct.pack("<H", 1))
    body += element(0x0800, struct.pack("<H", NO_DATA_SET))
    return p_data(1, COMMAND | LAST, element(0, struct.pack("<I", len(body))) + body)


def answers(wire: Wire, maximum_length: int = 16384) -> Iterator[tuple[int, bytes]]:
    """Statuses and identifiers up to the final response."""
    parts = {COMMAND: b"", 0: b""}
    while True:
        received = wire.receive()
        assert received is not None
        assert received[0] == P_DATA_TF
        assert len(received[1]) <= maximum_length
        length, _, control = struct.unpack_from(">IBB", received[1])
        assert length + 4 == len(received[1])
        parts[control & COMMAND] += received[1][6:]
        if not control & LAST:
            continue
        at = parts[COMMAND].index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        status = struct.unpack_from("<H", parts[COMMAND], at)[0]
        is_final = status not in (Status.PENDING, Status.PENDING_WITH_UNSUPPORTED_KEYS)
        if is_final or not control & COMMAND:
            yield status, parts[0]
            parts = {COMMAND: b"", 0: b""}
        if is_final:
            return


def test_hundreds_of_responses_are_one_write(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    send = UpperLayer.send_encoded

    def counted(layer: UpperLayer, pdus: bytes) -> Event:
        writes.append(len(pdus))
        return send(layer, pdus)

    monkeypatch.setattr(UpperLayer, "send_encoded", counted)
    monkeypatch.setattr(find_service, "MAX_AGE_S", 60)

    found = node.found(IMAGES)

    assert [response.SOPInstanceUID for response in found] == [each.record.sop_instance_uid for each in MANY]
    assert len(writes) <= len(MANY) // 50


def test_a_response_waits_for_others_for_a_moment_only(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_service, "MAX_AGE_S", 0)

    assert [
        study.StudyInstanceUID for study in node.found(identifier("STUDY", PatientID="A", StudyInstanceUID=""))
    ] == [
        uid("1"),
        uid("2"),
    ]


@pytest.mark.parametrize("maximum_length", [16, 100, 1 << 20])
def test_responses_are_cut_into_the_pdus_that_the_caller_takes(node: Node, maximum_length: int) -> None:
    with asking(node, maximum_length, identifier("STUDY", StudyInstanceUID="", PatientName="D*")) as wire:
        *pending, final = list(answers(wire, maximum_length))

    studies = [read_data_set(encoded, ExplicitVRLittleEndian) for _, encoded in pending]
    assert [(study.StudyInstanceUID, study.PatientName) for study in studies] == [
        (uid("1"), "Doe^Jane"),
        (uid("2"), "Doe^Jane"),
    ]
    assert final == (Status.SUCCESS, b"")


def test_nothing_but_the_final_response_is_sent_after_a_cancel_was_seen(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    send = UpperLayer.send_encoded

    def held(layer: UpperLayer, pdus: bytes) -> Event:
        writes.append(len(pdus))
        sent = send(layer, pdus)
        if len(writes) == 1:
            wait_until(lambda: bool(layer.assoc.dimse.cancel_req), "the C-CANCEL", 20)
        return sent

    monkeypatch.setattr(UpperLayer, "send_encoded", held)
    with asking(node) as wire:
        stream = answers(wire)
        first = next(stream)
        wire.send(cancellation())
        *rest, final = list(stream)
        wire.send(ECHO)

        assert wire.status() == Status.SUCCESS
    assert {status for status, _ in [first, *rest]} == {Status.PENDING}
    assert final == (Status.CANCEL, b"")
    assert len(writes) == 2, "the second is the final response"
    assert len(rest) + 1 < len(MANY)


def test_a_caller_that_is_gone_leaves_no_association_behind(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_service, "MAX_BUFFER_BYTES", 256)
    listener = node.entity._listener
    assert listener is not None
    before = set(listener._associations)

    wire = asking(node)
    next(answers(wire))
    wire.reset()

    wait_until(lambda: set(listener._associations) <= before, "the end of the association", 20)
    assert node.found(identifier("STUDY", PatientID="A"), StudyRoot)
