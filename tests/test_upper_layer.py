"""The upper layer on the wire, octet by octet; and what it relies on of pynetdicom."""

import hashlib
import inspect
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pynetdicom
import pytest
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import association, dul, fsm, transport
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from storage.spool.queue import Spool
from tests.answering import Node, answering_node
from tests.test_receiver import octets_of, picture

Wires = Callable[[], "Wire"]
ABORT, RELEASE_RP, P_DATA = 7, 6, 4
STORAGE, ECHO = 1, 3
RELIED_ON = {
    dul.DULServiceProvider.run_reactor: "e3a10eb3a093",
    dul.DULServiceProvider._process_recv_primitive: "4c0ebbb3e646",
    dul.DULServiceProvider._decode_pdu: "fc71dd1bf853",
    dul.DULServiceProvider.send_pdu: "7cbce5da8594",
    dul.DULServiceProvider.stop_dul: "28a7e0be126e",
    association.Association._run_reactor: "f28838c5559e",
    association.Association.run_reactor: "ed8bbbe3b3d6",
    transport.RequestHandler._create_association: "05c8d12b7986",
    transport.AssociationSocket.send: "1ea8158c0b51",
    transport.AssociationSocket.close: "c726c8db5381",
    fsm.DT_2: "9ec543394e0b",
    fsm.AA_8: "06c83317f088",
    fsm.AR_4: "33a12cf6208e",
}
"""Functions that ours stands in for, calls, or is called by, with the start of the digest of their source."""


@pytest.mark.parametrize("function", RELIED_ON, ids=lambda function: function.__qualname__)
def test_pynetdicom_is_as_the_upper_layer_was_written_for(function: object) -> None:
    digest = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]  # type: ignore[arg-type]

    assert digest == RELIED_ON[function], (  # type: ignore[index]
        f"{function} of pynetdicom {pynetdicom.__version__} is not the one that "
        f"node/dicom/upper_layer.py was written for: "
        f"read what changed, adapt UpperLayer or Listener if it must be, then write {digest} here"
    )


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
        yield lambda: stack.enter_context(closing(Wire(node)))


class Wire:
    """An association of octets: contexts 1 (storage) and 3 (verification)."""

    def __init__(self, node: Node) -> None:
        self.socket = socket.create_connection((node.settings.host, node.settings.port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(associate_rq(node.settings.ae_title))
        assert self.pdu()[0] == 2, "the association is accepted"

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self.socket.close()

    def pdu(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; type 0 at the end of the connection."""
        header = self.exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self.exactly(length)

    def exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            try:
                more = self.socket.recv(count - len(octets))
            except ConnectionResetError:
                return octets
            if not more:
                return octets
            octets += more
        return octets

    def status(self) -> int:
        """Status of the response that comes next."""
        kind, body = self.pdu()
        assert kind == P_DATA
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2))
        status: int = struct.unpack_from("<H", body, at + 8)[0]
        return status

    def ends(self) -> bool:
        """Whether the peer aborts or closes, and nothing else."""
        kind, _ = self.pdu()
        return kind in (ABORT, 0)


def associate_rq(called: str) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = "WIRE", called
    contexts = [build_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian), build_context(Verification)]
    for number, context in zip((STORAGE, ECHO), contexts, strict=True):
        context.context_id = number
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, UID("2.25.1")
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def store_command(uid: bytes = b"2.25.1", message_id: int = 1) -> bytes:
    return (
        element(0x0002, SecondaryCaptureImageStorage.encode() + b"\0")
        + element(0x0100, b"\1\0")
        + element(0x0110, struct.pack("<H", message_id))
        + element(0x0800, b"\0\0")
        + element(0x1000, uid)
    )


ECHO_COMMAND = element(0x0002, b"1.2.840.10008.1.1\0") + element(0x0100, b"\x30\0") + element(0x0110, b"\5\0")
ECHO_COMMAND += element(0x0800, b"\1\1")


def value(context_id: int, control: int, octets: bytes) -> bytes:
    return struct.pack(">IBB", len(octets) + 2, context_id, control) + octets


def p_data(*values: bytes) -> bytes:
    body = b"".join(values)
    return struct.pack(">BxI", P_DATA, len(body)) + body


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_a_data_set_in_fragments_of_any_size_is_stored(wires: Wires, spool: Spool, size: int) -> None:
    octets, wire = octets_of(picture()), wires()
    command = store_command()
    for start in range(0, len(command), size):
        last = start + size >= len(command)
        wire.socket.sendall(p_data(value(STORAGE, 3 if last else 1, command[start : start + size])))
    for start in range(0, len(octets), size):
        last = start + size >= len(octets)
        wire.socket.sendall(p_data(value(STORAGE, 2 if last else 0, octets[start : start + size])))

    assert wire.status() == 0
    [entry] = spool
    assert entry.path.read_bytes().endswith(octets)
    assert dcmread(entry.path).file_meta.SourceApplicationEntityTitle == "WIRE"


def test_one_pdu_may_hold_a_whole_message_and_one_call_several(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()
    message = p_data(value(STORAGE, 3, store_command()), value(STORAGE, 0, octets[:9]), value(STORAGE, 2, octets[9:]))

    wire.socket.sendall(message * 3)

    assert [wire.status() for _ in range(3)] == [0, 0, 0]
    assert len(spool) == 3


def test_an_empty_last_fragment_ends_a_data_set(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()

    wire.socket.sendall(
        p_data(value(STORAGE, 3, store_command())) + p_data(value(STORAGE, 0, octets)) + p_data(value(STORAGE, 2, b""))
    )

    assert wire.status() == 0


def test_other_services_and_release_go_the_usual_way_between_stores(wires: Wires, spool: Spool) -> None:
    octets, wire = octets_of(picture()), wires()
    store = p_data(value(STORAGE, 3, store_command()), value(STORAGE, 2, octets))

    for octets in (store, p_data(value(ECHO, 3, ECHO_COMMAND)), store, p_data(value(ECHO, 3, ECHO_COMMAND))):
        wire.socket.sendall(octets)
        assert wire.status() == 0
    wire.socket.sendall(store + p_data(value(ECHO, 3, ECHO_COMMAND)) + store)
    assert [wire.status() for _ in range(3)] == [0, 0, 0]
    wire.socket.sendall(b"\5\0\0\0\0\4\0\0\0\0")  # A-RELEASE-RQ

    assert wire.pdu() == (RELEASE_RP, bytes(4))
    assert wire.pdu() == (0, b"")


BAD = {
    "unknown PDU type": b"\x0a\0\0\0\0\4\0\0\0\0",
    "PDU without value": p_data(),
    "value longer than its PDU": struct.pack(">BxI", P_DATA, 10) + struct.pack(">IBB", 99, STORAGE, 3) + bytes(4),
    "value of one byte": struct.pack(">BxI", P_DATA, 6) + struct.pack(">IBB", 1, STORAGE, 3),
    "PDU that ends in a value header": struct.pack(">BxI", P_DATA, 3) + bytes(3),
    "data before a command": p_data(value(STORAGE, 2, b"1234")),
    "context not accepted": p_data(value(99, 3, store_command())),
    "command within data": p_data(value(STORAGE, 3, store_command()), value(STORAGE, 3, store_command())),
    "data in another context": p_data(value(STORAGE, 3, store_command()), value(ECHO, 2, b"12")),
    "no command set": p_data(value(STORAGE, 3, b"garbage, garbage, garbage")),
    "command without message": p_data(value(STORAGE, 3, element(0x0100, b"\1\0"))),
    "endless command set": p_data(*[value(STORAGE, 1, bytes(30_000))] * 3),
    "release request that lies about its length": b"\5\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_ps3_8_forbids_ends_this_association_only(wires: Wires, spool: Spool, octets: bytes) -> None:
    wire, other = wires(), wires()

    wire.socket.sendall(octets)

    assert wire.ends()
    other.socket.sendall(p_data(value(ECHO, 3, ECHO_COMMAND)))
    assert other.status() == 0
    assert len(spool) == 0


@pytest.mark.parametrize("ending", [b"", BAD["unknown PDU type"]], ids=["leaves", "goes on with garbage"])
@pytest.mark.parametrize("title", ["LOOKALIKE", "é"], ids=["good request", "garbled request"])
def test_who_asks_for_an_association_and_does_not_wait_keeps_no_thread(node: Node, title: str, ending: bytes) -> None:
    asked = associate_rq("?" * 16).replace(b"?" * 16, title.encode().ljust(16))
    before = threading.active_count()

    for _ in range(30):
        with socket.create_connection((node.settings.host, node.settings.port)) as connection:
            connection.sendall(asked + ending)

    wait_for(lambda: threading.active_count() <= before)


def test_a_sender_that_goes_away_in_the_middle_leaves_nothing(wires: Wires, spool: Spool) -> None:
    wire = wires()
    wire.socket.sendall(p_data(value(STORAGE, 3, store_command()), value(STORAGE, 0, octets_of(picture()))))
    temporary = spool.path / "tmp"
    wait_for(lambda: any(temporary.iterdir()))

    wire.close()

    wait_for(lambda: not any(temporary.iterdir()))
    assert len(spool) == 0


def test_a_uid_that_would_be_a_path_is_refused(wires: Wires, spool: Spool) -> None:
    wire = wires()

    wire.socket.sendall(
        p_data(value(STORAGE, 3, store_command(b"../../../etc/x")), value(STORAGE, 2, octets_of(picture())))
    )

    assert wire.status() == 0xA900
    assert len(spool) == 0


def test_an_idle_association_takes_no_processor_time(node: Node, wires: Wires) -> None:
    opened = [wires() for _ in range(8)]
    for wire in opened:
        wire.socket.sendall(p_data(value(STORAGE, 3, store_command()), value(STORAGE, 2, octets_of(picture()))))
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
