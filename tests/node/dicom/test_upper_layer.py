"""The upper layer on the wire, byte by byte."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pydicom import dcmread

from storage.spool.queue import Spool
from tests.node.ingest.test_receiver import octets_of, picture
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.wire import (
    ABORT,
    C_STORE_RQ,
    ECHO,
    IMPLICIT,
    P_DATA_TF,
    RELEASE_RP,
    SECONDARY_CAPTURE,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    element,
    pdu,
    pdv,
)

Wires = Callable[[], Wire]
STORAGE, VERIFYING = 1, 3


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def spool(node: Node) -> Iterator[Spool]:
    spool = node.finder.retriever.spool
    yield spool
    spool.remove(list(spool))


@pytest.fixture
def wires(node: Node) -> Iterator[Wires]:
    """Opens associations, and closes them in the end."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Wire.associate(node.settings.host, node.settings.port))


def store_command(uid: str = "2.25.1") -> bytes:
    return command(C_STORE_RQ, SECONDARY_CAPTURE, uid)


def p_data(*values: bytes) -> bytes:
    return pdu(P_DATA_TF, b"".join(values))


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_a_data_set_in_fragments_of_any_size_is_stored(wires: Wires, spool: Spool, size: int) -> None:
    octets, wire = octets_of(picture()), wires()
    stored = store_command()
    for start in range(0, len(stored), size):
        last = start + size >= len(stored)
        wire.send(p_data(pdv(STORAGE, 3 if last else 1, stored[start : start + size])))
    for start in range(0, len(octets), size):
        last = start + size >= len(octets)
        wire.send(p_data(pdv(STORAGE, 2 if last else 0, octets[start : start + size])))

    assert wire.status() == 0
    [entry] = spool
    assert entry.path.read_bytes().endswith(octets)
    assert dcmread(entry.path).file_meta.SourceApplicationEntityTitle == "HOSTILE"


def test_one_pdu_may_hold_a_whole_message_and_one_call_several(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()
    message = p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 0, octets[:9]), pdv(STORAGE, 2, octets[9:]))

    wire.send(message * 3)

    assert [wire.status() for _ in range(3)] == [0, 0, 0]
    assert len(spool) == 3


def test_an_empty_last_fragment_ends_a_data_set(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()

    wire.send(p_data(pdv(STORAGE, 3, store_command())) + p_data(pdv(STORAGE, 0, octets)) + p_data(pdv(STORAGE, 2, b"")))

    assert wire.status() == 0


def test_other_services_and_release_go_the_usual_way_between_stores(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()
    store = p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 2, octets))

    for octets in (store, ECHO, store, ECHO):
        wire.send(octets)
        assert wire.status() == 0
    wire.send(store + ECHO + store)
    assert [wire.status() for _ in range(3)] == [0, 0, 0]
    wire.send(b"\5\0\0\0\0\4\0\0\0\0")  # A-RELEASE-RQ

    assert wire.receive() == (RELEASE_RP, bytes(4))
    assert wire.receive() is None


BAD = {
    "unknown PDU type": b"\x0a\0\0\0\0\4\0\0\0\0",
    "PDU without value": p_data(),
    "value longer than its PDU": struct.pack(">BxI", P_DATA_TF, 10) + struct.pack(">IBB", 99, STORAGE, 3) + bytes(4),
    "value of one byte": struct.pack(">BxI", P_DATA_TF, 6) + struct.pack(">IBB", 1, STORAGE, 3),
    "PDU that ends in a value header": struct.pack(">BxI", P_DATA_TF, 3) + bytes(3),
    "data before a command": p_data(pdv(STORAGE, 2, b"1234")),
    "context not accepted": p_data(pdv(99, 3, store_command())),
    "command within data": p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 3, store_command())),
    "data in another context": p_data(pdv(STORAGE, 3, store_command()), pdv(VERIFYING, 2, b"12")),
    "no command set": p_data(pdv(STORAGE, 3, b"garbage, garbage, garbage")),
    "command without message": p_data(pdv(STORAGE, 3, element(0x0100, b"\1\0"))),
    "endless command set": p_data(*[pdv(STORAGE, 1, bytes(30_000))] * 3),
    "release request that lies about its length": b"\5\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_ps3_8_forbids_ends_this_association_only(wires: Wires, spool: Spool, octets: bytes) -> None:
    wire, other = wires(), wires()

    wire.send(octets)

    assert wire.kind() in (ABORT, None)
    other.send(ECHO)
    assert other.status() == 0
    assert len(spool) == 0


@pytest.mark.parametrize("ending", [b"", BAD["unknown PDU type"]], ids=["leaves", "goes on with garbage"])
@pytest.mark.parametrize("title", ["LOOKALIKE", "é"], ids=["good request", "garbled request"])
def test_who_asks_for_an_association_and_does_not_wait_keeps_no_thread(node: Node, title: str, ending: bytes) -> None:
    asked = associate_rq([(VERIFICATION, (IMPLICIT,))], called=title.encode())
    before = threading.active_count()

    for _ in range(30):
        with socket.create_connection((node.settings.host, node.settings.port)) as connection:
            connection.sendall(asked + ending)

    wait_for(lambda: threading.active_count() <= before)


def test_a_sender_that_goes_away_in_the_middle_leaves_nothing(wires: Wires, spool: Spool) -> None:
    wire = wires()
    wire.send(p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 0, octets_of(picture()))))
    temporary = spool.path / "tmp"
    wait_for(lambda: any(temporary.iterdir()))

    wire.connection.close()

    wait_for(lambda: not any(temporary.iterdir()))
    assert len(spool) == 0


def test_a_uid_that_would_be_a_path_is_refused(wires: Wires, spool: Spool) -> None:
    wire = wires()

    wire.send(p_data(pdv(STORAGE, 3, store_command("../../../etc/x")), pdv(STORAGE, 2, octets_of(picture()))))

    assert wire.status() == 0xA900
    assert len(spool) == 0


def test_an_idle_association_takes_no_processor_time(node: Node, wires: Wires) -> None:
    opened = [wires() for _ in range(8)]
    for wire in opened:
        wire.send(p_data(pdv(STORAGE, 3, store_command()), pdv(STORAGE, 2, octets_of(picture()))))
        wire.status()
    node.finder.retriever.spool.remove(list(node.finder.retriever.spool))
    time.sleep(0.2)

    before = time.process_time()
    time.sleep(1)

    assert time.process_time() - before < 0.2


def wait_for(condition: Callable[[], bool], limit_s: float = 10) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
