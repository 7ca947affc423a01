"""A real node under attack, and what it must still do: helpers of the tests of hostile networks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from node.errors import PeerError
from tests.support.dicom.hostile import body, picture, uids
from tests.support.dicom.wire import (
    ABORT,
    ASSOCIATE_AC,
    C_STORE_RQ,
    COMMAND,
    LAST,
    SECONDARY_CAPTURE,
    STORE,
    Wire,
    command,
    p_data,
)
from tests.support.running import RunningNode, running_node, wait_until

SILENCE_S = 3
STORE_COMMAND = command(C_STORE_RQ, SECONDARY_CAPTURE, uids(1)["SOPInstanceUID"])
STORED = p_data(1, COMMAND | LAST, STORE_COMMAND)
DATA = body(picture(1, SOPClassUID=SECONDARY_CAPTURE))


@contextmanager
def besieged_node(folder: Path) -> Iterator[RunningNode]:
    """A node that gives silent peers little time."""
    settings = {"network_timeout_s": str(SILENCE_S), "encoder_backend": "torch", "receivers": "2"}
    with running_node(folder / "home", **settings) as running:
        yield running


@contextmanager
def outlives(node: RunningNode) -> Iterator[None]:
    """Whatever is sent within the block, no process of the node ends, and it answers afterwards."""
    before = node.pids()
    yield
    answers(node)
    assert node.pids() == before


def answers(node: RunningNode) -> None:
    """Wait for an answer to C-ECHO: the node may still be busy with what was sent before."""

    def echoes() -> bool:
        try:
            node.peer.echo()
        except PeerError:
            return False
        return True

    wait_until(echoes, "the node to answer", 30)


def opened(node: RunningNode) -> Wire:
    """A connection without an association."""
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
    """True once the association is aborted, or its connection closed, before a timeout of the client."""
    while (kind := wire.kind()) is not None:
        if kind == ABORT:
            return True
    return True


def arriving(node: RunningNode) -> list[Path]:
    """Files of instances that have not arrived completely."""
    return list((node.settings.spool_path / "tmp").iterdir())


def connections(node: RunningNode) -> int:
    """How many connections the receivers hold."""
    roles = [psutil.Process(pid) for name, pid in node.pids().items() if name.startswith("dicom")]
    return sum(len(role.net_connections()) for role in roles)
