"""What a network can send: each costs its own association only, and the node answers the next one."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from node.errors import PeerError
from tests.hostile import body, picture, uids
from tests.running import RunningNode, running_node, wait_until
from tests.wire import (
    ABORT,
    ABORTION,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    C_ECHO_RQ,
    C_FIND_RQ,
    C_STORE_RQ,
    COMMAND,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    NO_DATA_SET,
    P_DATA_TF,
    RELEASE,
    RELEASE_RP,
    SECONDARY_CAPTURE,
    STORE,
    STUDY_ROOT_FIND,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    element,
    item,
    p_data,
    pdu,
    pdv,
)

# the client library leaves its socket open when a busy node refuses it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MIB = 1 << 20
SILENCE_S = 3
STORE_COMMAND = command(C_STORE_RQ, SECONDARY_CAPTURE, uids(1)["SOPInstanceUID"])
STORED = p_data(1, COMMAND | LAST, STORE_COMMAND)
DATA = body(picture(1, SOPClassUID=SECONDARY_CAPTURE))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    home = tmp_path_factory.mktemp("hostile") / "home"
    with running_node(home, network_timeout_s=str(SILENCE_S), encoder_backend="torch") as running:
        yield running


@pytest.fixture(autouse=True)
def _outlived(node: RunningNode) -> Iterator[None]:
    """Whatever a test sends, no process of the node ends, and it answers afterwards."""
    before = node.pids()
    yield
    answers(node)
    assert node.pids() == before


def answers(node: RunningNode) -> None:
    """C-ECHO, asked again while the node is still busy with what was sent before."""

    def echoes() -> bool:
        try:
            node.peer.echo()
        except PeerError:
            return False
        return True

    wait_until(echoes, "the node to answer", 30)


def opened(node: RunningNode) -> Wire:
    return Wire.open(node.settings.host, node.settings.port)


def associated(node: RunningNode) -> Wire:
    """An association, asked for again while those of earlier tests have not ended."""
    for _ in range(100):
        wire = opened(node)
        wire.send(STORE)
        if wire.kind() == ASSOCIATE_AC:
            return wire
        wire.reset()
        time.sleep(0.1)
    pytest.fail("no association within 10 s")


def ends(wire: Wire) -> bool:
    """Whether the association is aborted, or its connection closed, before a timeout of the client."""
    while (kind := wire.kind()) is not None:
        if kind == ABORT:
            return True
    return True


LIES = {
    "of no type": pdu(0, bytes(10)),
    "of an unknown type": pdu(0xFE, bytes(10)),
    "of four gigabytes": pdu(1, bytes(68), length=0xFFFF_FFFF),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + bytes(200),
}
BEFORE = LIES | {
    "data": ECHO,
    "a release": RELEASE,
    "a release response": pdu(RELEASE_RP, bytes(4)),
    "an acceptance": pdu(ASSOCIATE_AC, STORE[6:]),
    "a rejection": pdu(ASSOCIATE_RJ, bytes(4)),
    "a request of no content": pdu(1, b""),
    "a request that ends within an item": pdu(1, STORE[6:120]),
    "a request whose item is too long": STORE[:-4] + b"\xff\xff\xff\xff",
    "a request of 65,535 octets of garbage": pdu(1, bytes(68) + bytes(range(256)) * 255),
    "a request without contexts": associate_rq([]),
    "a request with 3,000 contexts": associate_rq([(SECONDARY_CAPTURE, (EXPLICIT,))] * 3000),
    "a context of 4,000 transfer syntaxes": associate_rq([(SECONDARY_CAPTURE, (EXPLICIT,) * 2000)]),
    "contexts of empty names": associate_rq([("", ("",))] * 5),
    "a UID of 500 characters": associate_rq([("1." * 250, (EXPLICIT,))]),
    "user information of garbage": associate_rq([(VERIFICATION, (IMPLICIT,))], user=os.urandom(4000)),
    "user items that lie": associate_rq([(VERIFICATION, (IMPLICIT,))], user=item(0x51, b"")[:2] + b"\xff\xff1"),
    "an AE title of no text": associate_rq([(VERIFICATION, (IMPLICIT,))], calling=b"\xff\0\x01\n"),
}
DURING = LIES | {
    "another request": STORE,
    "an acceptance": pdu(ASSOCIATE_AC, STORE[6:]),
    "a rejection": pdu(ASSOCIATE_RJ, bytes(4)),
    "data of nothing": pdu(P_DATA_TF, b""),
    "a value of no octet": pdu(P_DATA_TF, pdv(1, 3, b"", length=0)),
    "a value of one octet": pdu(P_DATA_TF, pdv(1, 3, b"", length=1)),
    "a value longer than its PDU": pdu(P_DATA_TF, pdv(1, 3, b"abcd", length=0x7FFF_FFFF)),
    "a value shorter than its PDU": pdu(P_DATA_TF, pdv(1, 3, b"abcd", length=4)),
    "a context nobody accepted": p_data(99, COMMAND | LAST, STORE_COMMAND),
    "data before any command": p_data(1, LAST, DATA),
    "a command within a data set": STORED + p_data(1, 0, DATA[:100]) + STORED,
    "data of another context": STORED + p_data(3, LAST, DATA),
    "a command set of 16 MiB": p_data(1, COMMAND, bytes(MIB)) * 16,
    "a command set of one PDU of 16 MiB": p_data(1, COMMAND | LAST, bytes(16 * MIB)),
    "a command set without an end": p_data(1, COMMAND, STORE_COMMAND) * 3000,
    "a command set of garbage": p_data(1, COMMAND | LAST, os.urandom(200)),
    "a command whose element is too long": p_data(1, COMMAND | LAST, element(0x0100, b"\1\0", length=0xFFFF_FFFF)),
    "a command of another group": p_data(1, COMMAND | LAST, struct.pack("<HHI", 8, 0x16, 2) + b"1\0"),
    "a store without message ID": p_data(1, COMMAND | LAST, element(0x0100, b"\1\0")),
}


@pytest.mark.parametrize("name", BEFORE)
def test_before_an_association_nonsense_is_rejected_aborted_or_answered(name: str, node: RunningNode) -> None:
    with opened(node) as wire:
        wire.send(BEFORE[name], RELEASE)

        assert ends(wire)


@pytest.mark.parametrize("name", DURING)
def test_in_an_association_nonsense_ends_that_association_only(name: str, node: RunningNode) -> None:
    with associated(node) as other, associated(node) as wire:
        wire.send(DURING[name])

        assert ends(wire)

        other.send(p_data(3, COMMAND | LAST, command(C_ECHO_RQ, VERIFICATION, data_set=NO_DATA_SET)))
        assert other.status() == 0


@pytest.mark.parametrize(
    "requests",
    [
        [command(C_STORE_RQ, SECONDARY_CAPTURE, "../../etc/passwd"), DATA],
        [command(C_STORE_RQ, SECONDARY_CAPTURE, "1." * 250), DATA],
        [command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.8"), DATA],
        [command(C_STORE_RQ, SECONDARY_CAPTURE), DATA],
        [command(C_STORE_RQ, "1" * 6000, uids(1)["SOPInstanceUID"]), DATA],
        [command(C_STORE_RQ, SECONDARY_CAPTURE, uids(1)["SOPInstanceUID"], data_set=NO_DATA_SET)],
        [STORE_COMMAND, b""],
        [STORE_COMMAND, DATA[:40]],
        [STORE_COMMAND, b"\xff" * 5000],
        [STORE_COMMAND, bytes(5000)],
        [STORE_COMMAND, b"\x08\0\x05\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 3000],
    ],
)
def test_a_store_that_cannot_be_has_its_status_and_the_association_goes_on(
    requests: list[bytes], node: RunningNode
) -> None:
    with associated(node) as wire:
        wire.send(p_data(1, COMMAND | LAST, requests[0]), *(p_data(1, LAST, one) for one in requests[1:]))

        assert wire.status() in (0xA900, 0xC000)

        wire.send(p_data(3, COMMAND | LAST, command(C_ECHO_RQ, VERIFICATION, data_set=NO_DATA_SET)))
        assert wire.status() == 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_fragments_of_any_size_make_one_object(size: int, node: RunningNode) -> None:
    number = 100 + size
    data = body(picture(number, SOPClassUID=SECONDARY_CAPTURE))
    stored = command(C_STORE_RQ, SECONDARY_CAPTURE, uids(number)["SOPInstanceUID"])
    with associated(node) as wire:
        pieces = [p_data(1, COMMAND, stored[at : at + size]) for at in range(0, len(stored), size)]
        pieces += [p_data(1, COMMAND | LAST, b"")]
        pieces += [p_data(1, 0, data[at : at + size]) for at in range(0, len(data), size)]
        wire.send(b"".join([*pieces, p_data(1, LAST, b"")]))

        assert wire.status() == 0

    node.wait_indexed()


@pytest.mark.parametrize("identifier", [b"", b"\xff" * 999, os.urandom(5000), DATA[:100], DATA])
def test_a_query_of_garbage_is_refused(identifier: bytes, node: RunningNode) -> None:
    with associated(node) as wire:
        wire.send(p_data(5, COMMAND | LAST, command(C_FIND_RQ, STUDY_ROOT_FIND)), p_data(5, LAST, identifier))

        assert wire.status() in {0xA700, 0xA900, 0xC000, 0xC1FF, *range(0xC000, 0xD000)}


@dataclass(frozen=True, slots=True)
class State:
    """How far an association came (PS3.8 section 9.2) when its other end went away."""

    name: str
    sent: tuple[bytes, ...]
    heard: int


STATES = (
    State("connected", (), 0),
    State("within a request", (STORE[:50],), 0),
    State("requesting", (STORE,), 0),
    State("associated", (STORE,), 1),
    State("within a header", (STORE, STORED[:3]), 1),
    State("within a command", (STORE, STORED[:40]), 1),
    State("after a command", (STORE, STORED), 1),
    State("within data", (STORE, STORED, p_data(1, 0, DATA[:500])), 1),
    State("within a value", (STORE, STORED, p_data(1, 0, DATA[:500])[:300]), 1),
    State("waiting for a response", (STORE, STORED, p_data(1, LAST, DATA)), 1),
    State("releasing", (STORE, RELEASE), 1),
    State("released", (STORE, RELEASE), 2),
)


def shut(wire: Wire) -> None:
    wire.connection.shutdown(1)
    assert ends(wire)


LEAVING: dict[str, Callable[[Wire], object]] = {
    "aborts": lambda wire: wire.send(ABORTION),
    "resets": Wire.reset,
    "closes": lambda wire: wire.connection.close(),
    "closes one way": shut,
}


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_peer_may_leave_in_every_state(leaving: str, state: State, node: RunningNode) -> None:
    with opened(node) as wire:
        wire.send(*state.sent)
        for _ in range(state.heard):
            wire.kind()

        LEAVING[leaving](wire)

    wait_until(lambda: not arriving(node), "what arrived in part to be forgotten", 30)


def arriving(node: RunningNode) -> list[Path]:
    return list((node.settings.spool_path / "tmp").iterdir())


@pytest.mark.parametrize("sent", [(STORE[:20],), (STORE, STORED[:20]), (STORE, STORED, p_data(1, 0, DATA)[:99])])
def test_one_octet_now_and_then_does_not_keep_an_association(sent: tuple[bytes, ...], node: RunningNode) -> None:
    with opened(node) as wire:
        wire.send(*sent)
        started = time.monotonic()
        while wire.send(b"\0") and time.monotonic() - started < 60:
            time.sleep(0.3)

    assert time.monotonic() - started < SILENCE_S + 45  # an association that was not asked for has ACSE's 30 s


def test_many_silent_connections_keep_nobody_out(node: RunningNode) -> None:
    silent = []
    try:
        silent += [opened(node) for _ in range(200)]
        answers(node)
    finally:
        for wire in silent:
            wire.reset()
    wait_until(lambda: connections(node) < 20, "their descriptors to be closed", 60)


def connections(node: RunningNode) -> int:
    roles = [psutil.Process(pid) for name, pid in node.pids().items() if name.startswith("dicom")]
    return sum(len(one.net_connections()) for one in roles)


def test_those_who_ask_and_leave_at_once_take_nobodys_place(node: RunningNode) -> None:
    for _ in range(3 * node.settings.max_associations):
        wire = opened(node)
        wire.send(STORE)
        wire.reset()

    associated(node).reset()


@pytest.mark.parametrize("rounds", [60, pytest.param(6000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_mutated_conversations_end_and_the_node_goes_on(rounds: int, node: RunningNode) -> None:
    rng = np.random.default_rng(rounds)

    for _ in range(rounds):
        converse(node, rng)

    node.wait_indexed()
    wait_until(lambda: not arriving(node), "what arrived in part to be forgotten", 60)


def converse(node: RunningNode, rng: np.random.Generator) -> None:
    """Say what a sender says, some octets of it changed, and leave."""
    said = bytearray(STORE + STORED + p_data(1, LAST, DATA[:2000]) + ECHO + RELEASE)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(said) if rng.random() < 0.3 else len(STORE) + len(STORED) + 20))
        if rng.random() < 0.7:
            said[at] = int(rng.integers(256))
        else:
            del said[at : at + int(rng.integers(1, 9))]
    with opened(node) as wire:
        wire.send(bytes(said))
        if rng.random() < 0.5:
            wire.connection.settimeout(0.05)
            try:
                while wire.kind() is not None:
                    continue
            except TimeoutError:
                wire.send(ABORTION)


def test_a_good_object_is_indexed_after_all_this(node: RunningNode) -> None:
    data = body(picture(77, SOPClassUID=SECONDARY_CAPTURE))
    before = node.wait_indexed().rows
    with associated(node) as wire:
        wire.send(p_data(1, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, uids(77)["SOPInstanceUID"])))
        wire.send(p_data(1, LAST, data), ECHO)

        assert wire.status() == 0

    assert node.wait_indexed().rows == before + 1
