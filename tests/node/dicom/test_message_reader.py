"""Requests go to the service of their presentation context, and to no other."""

from collections.abc import Iterator

import pytest
from pydicom.uid import CTImageStorage, MRImageStorage

from node.dicom.sop_classes import STUDY_ROOT_MOVE
from node.ingest.receiver import IncomingInstance
from node.ingest.refusals import read_refusals
from tests.node.ingest.test_receiver import octets_of, picture
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.wire import (
    ABORT,
    C_ECHO_RQ,
    C_FIND_RQ,
    C_STORE_RQ,
    COMMAND,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    NO_DATA_SET,
    SECONDARY_CAPTURE,
    STUDY_ROOT_FIND,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    p_data,
)
from tests.support.running import wait_until

STORING, VERIFYING, FINDING, STORING_CT = 1, 3, 5, 7
REQUEST = associate_rq(
    [
        (SECONDARY_CAPTURE, (EXPLICIT,)),
        (VERIFICATION, (IMPLICIT,)),
        (STUDY_ROOT_FIND, (EXPLICIT,)),
        (CTImageStorage, (EXPLICIT,)),
    ]
)
C_GET_RQ, C_MOVE_RQ, N_SET_RQ, N_EVENT_REPORT_RQ, UNKNOWN_RQ = 0x0010, 0x0021, 0x0120, 0x0100, 0x0077
DATA = octets_of(picture())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), items=[]) as node:
        yield node


@pytest.fixture
def wire(node: Node) -> Iterator[Wire]:
    with Wire.associate(node.settings.host, node.settings.port, REQUEST) as wire:
        yield wire


def stored(node: Node) -> int:
    spool = node.finder.retriever.spool
    entries = list(spool)
    spool.remove(entries)
    return len(entries)


@pytest.mark.parametrize(
    ("context_id", "field", "sop_class_uid"),
    [
        (VERIFYING, C_STORE_RQ, SECONDARY_CAPTURE),
        (VERIFYING, C_STORE_RQ, VERIFICATION),
        (FINDING, C_STORE_RQ, SECONDARY_CAPTURE),
        (FINDING, C_STORE_RQ, STUDY_ROOT_FIND),
        (STORING_CT, C_STORE_RQ, MRImageStorage),
        (STORING_CT, C_STORE_RQ, SECONDARY_CAPTURE),
        (STORING, C_STORE_RQ, ""),
        (STORING, C_FIND_RQ, STUDY_ROOT_FIND),
        (STORING, C_FIND_RQ, SECONDARY_CAPTURE),
        (FINDING, C_FIND_RQ, "1.2.840.10008.5.1.4.31"),
        (FINDING, C_FIND_RQ, "1.2.840.10008.5.1.4.1.2.1.1"),
        (VERIFYING, C_FIND_RQ, VERIFICATION),
        (FINDING, C_GET_RQ, STUDY_ROOT_FIND),
        (STORING, C_GET_RQ, SECONDARY_CAPTURE),
        (FINDING, C_MOVE_RQ, STUDY_ROOT_MOVE),
        (STORING, C_ECHO_RQ, VERIFICATION),
        (VERIFYING, C_ECHO_RQ, SECONDARY_CAPTURE),
    ],
)
def test_a_request_in_the_context_of_another_class_is_not_supported(
    context_id: int, field: int, sop_class_uid: str, wire: Wire, node: Node
) -> None:
    wire.send(p_data(context_id, COMMAND | LAST, command(field, sop_class_uid, "2.25.1")))
    wire.send(p_data(context_id, 0, DATA), p_data(context_id, LAST, DATA))

    assert wire.status() == 0x0122
    assert stored(node) == 0


@pytest.mark.parametrize("context_id", [STORING, VERIFYING, FINDING])
@pytest.mark.parametrize("field", [N_SET_RQ, UNKNOWN_RQ])
def test_an_operation_that_is_not_offered_is_not_recognized(context_id: int, field: int, wire: Wire) -> None:
    wire.send(p_data(context_id, COMMAND | LAST, command(field, SECONDARY_CAPTURE, data_set=NO_DATA_SET)))

    assert wire.status() == 0x0211
    wire.send(ECHO)
    assert wire.status() == 0


def test_a_report_of_commitment_is_not_taken_in_another_context(wire: Wire) -> None:
    wire.send(p_data(STORING, COMMAND | LAST, command(N_EVENT_REPORT_RQ, SECONDARY_CAPTURE, data_set=NO_DATA_SET)))

    assert wire.status() == 0x0122
    wire.send(ECHO)
    assert wire.status() == 0


def test_what_is_not_supported_is_counted(wire: Wire, node: Node) -> None:
    wire.send(p_data(VERIFYING, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.1", NO_DATA_SET)))
    wire.status()

    node.receiver.refusals.write()
    reasons = [refused.reason for refused in read_refusals(node.settings.run_path)]
    assert any(reason.startswith("0122 ") for reason in reasons)


@pytest.mark.parametrize("broken", ["write", "finish"])
def test_an_instance_that_an_internal_error_hit_is_not_acknowledged(
    broken: str, wire: Wire, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(IncomingInstance, broken, fails)
    wire.send(p_data(STORING, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.1")))
    wire.send(p_data(STORING, 0, DATA), p_data(STORING, LAST, b""))

    assert wire.kind() in (ABORT, None)
    temporary = node.settings.spool_path / "tmp"
    wait_until(lambda: not any(temporary.iterdir()), "what came in part to be dropped", 10)
    assert stored(node) == 0


def test_a_response_without_request_is_ignored(wire: Wire) -> None:
    wire.send(p_data(VERIFYING, COMMAND | LAST, command(0x8030, VERIFICATION, data_set=NO_DATA_SET)), ECHO)

    assert wire.status() == 0
