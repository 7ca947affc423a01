"""What a network can send: each costs its own association only, and the node answers the next one."""

import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.dicom.besieged import DATA, STORE_COMMAND, STORED, arriving, associated, ends, opened, outlives
from tests.support.dicom.hostile import body, picture, uids
from tests.support.dicom.wire import (
    ABORTION,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
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
    associate_rq,
    command,
    element,
    item,
    p_data,
    pdu,
    pdv,
)
from tests.support.running import RunningNode, wait_until

# the client library leaves its socket open when a busy node refuses it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MIB = 1 << 20


@pytest.fixture
def node(besieged: RunningNode) -> RunningNode:
    return besieged


@pytest.fixture(autouse=True)
def _outlived(node: RunningNode) -> Iterator[None]:
    with outlives(node):
        yield


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

        other.send(ECHO)
        assert other.status() == 0


UID = uids(1)["SOPInstanceUID"]


@pytest.mark.parametrize(
    ("requests", "status"),
    [
        ([command(C_STORE_RQ, SECONDARY_CAPTURE, "../../etc/passwd"), DATA], 0xA900),
        ([command(C_STORE_RQ, SECONDARY_CAPTURE, "1." * 250), DATA], 0xA900),
        ([command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.8"), DATA], 0xA900),
        ([command(C_STORE_RQ, SECONDARY_CAPTURE), DATA], 0xA900),
        ([command(C_STORE_RQ, "1" * 6000, UID), DATA], 0x0122),
        ([command(C_STORE_RQ, SECONDARY_CAPTURE, UID, data_set=NO_DATA_SET)], 0xA900),
        ([STORE_COMMAND, b""], 0xA900),
        ([STORE_COMMAND, DATA[:40]], 0xC000),
        ([STORE_COMMAND, b"\xff" * 5000], 0xC000),
        ([STORE_COMMAND, bytes(5000)], 0xC000),
        ([STORE_COMMAND, DATA[:-1000]], 0xC000),
        ([STORE_COMMAND, b"\x08\0\x05\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 3000], 0xC000),
    ],
)
def test_a_store_that_cannot_be_has_its_status_and_the_association_goes_on(
    requests: list[bytes], status: int, node: RunningNode
) -> None:
    with associated(node) as wire:
        wire.send(p_data(1, COMMAND | LAST, requests[0]), *(p_data(1, LAST, one) for one in requests[1:]))

        assert wire.status() == status

        wire.send(ECHO)
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


@pytest.mark.parametrize(
    "identifier",
    [b"", b"\xff" * 999, os.urandom(5000), DATA[:100], DATA],
    ids=["nothing", "ones", "noise", "the start of an image", "an image"],
)
def test_a_query_of_garbage_is_refused(identifier: bytes, node: RunningNode) -> None:
    with associated(node) as wire:
        wire.send(p_data(5, COMMAND | LAST, command(C_FIND_RQ, STUDY_ROOT_FIND)), p_data(5, LAST, identifier))

        assert wire.status() in {0xA700, 0xA900, 0xC000, 0xC1FF, *range(0xC000, 0xD000)}


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
