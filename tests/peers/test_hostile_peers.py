"""Peers that leave, stay silent or are slow: each costs its own connection only."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.dicom.besieged import (
    DATA,
    SILENCE_S,
    STORED,
    answers,
    arriving,
    associated,
    connections,
    ends,
    opened,
    outlives,
)
from tests.support.dicom.wire import ABORTION, LAST, RELEASE, STORE, Wire, p_data
from tests.support.running import RunningNode, wait_until

# the client library leaves its socket open when a busy node refuses it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def node(besieged: RunningNode) -> RunningNode:
    return besieged


@pytest.fixture(autouse=True)
def _outlived(node: RunningNode) -> Iterator[None]:
    with outlives(node):
        yield


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


def test_those_who_ask_and_leave_at_once_take_nobodys_place(node: RunningNode) -> None:
    for _ in range(3 * node.settings.max_associations):
        wire = opened(node)
        wire.send(STORE)
        wire.reset()

    associated(node).reset()
