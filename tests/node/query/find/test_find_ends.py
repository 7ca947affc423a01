"""However and whenever a caller ends a C-FIND, nothing of it is left in the node."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.errors import Status
from node.query import catalog, find_service
from node.query.response import ResponseEncoder
from tests.node.query.test_find_service import answers, asking, cancellation
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.archive import identifier, instance
from tests.support.dicom.wire import ABORTION, ECHO, Wire
from tests.support.running import wait_until

COUNT = 12
ITEMS = [instance(f"{number}.1.1", number) for number in range(1, COUNT + 1)]
REQUEST = identifier("STUDY", StudyInstanceUID="", PatientName="", StudyDescription="")
CANCEL_LIMIT_S = 0.1


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), ITEMS, max_associations_each=3) as node:
        yield node


@pytest.fixture(autouse=True)
def _one_response_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_service, "MAX_BUFFER_BYTES", 1)


def held(node: Node) -> tuple[int, int, int, int]:
    """Threads, descriptors, open read transactions and associations of this process."""
    listener, environment = node.entity._listener, node.finder.database._environment
    assert listener is not None
    readers = environment.readers().strip().split("\n")[1:]
    transactions = sum(line.split()[-1] != "-" for line in readers)
    return (
        threading.active_count(),
        sum(1 for _ in Path("/proc/self/fd").iterdir()),
        transactions,
        len(listener._associations),
    )


def is_no_more_than(node: Node, before: tuple[int, int, int, int]) -> bool:
    return all(now <= then for now, then in zip(held(node), before, strict=True))


def abort(wire: Wire) -> None:
    wire.send(ABORTION)
    wire.connection.close()


def close(wire: Wire) -> None:
    wire.connection.close()


ENDS: dict[str, Callable[[Wire], None]] = {"A-ABORT": abort, "close": close, "reset": Wire.reset}


@pytest.mark.parametrize("end", ENDS)
def test_a_caller_that_leaves_at_any_response_leaves_nothing_behind(node: Node, end: str) -> None:
    with asking(node, request=REQUEST) as first:  # threads and tables that stay are made by the first request
        assert len(list(answers(first))) == COUNT + 1
    wait_until(lambda: held(node)[3] == 0, "the end of the first association", 20)
    before = held(node)

    for index in range(COUNT + 2):
        wire = asking(node, request=REQUEST)
        stream = answers(wire)
        for _ in range(index):
            next(stream, None)
        ENDS[end](wire)

    wait_until(
        lambda: is_no_more_than(node, before), "threads, descriptors, transactions and slots to be given back", 20
    )


def test_a_cancel_at_any_response_ends_them_and_leaves_the_association_usable(node: Node) -> None:
    finals = []
    with asking(node, request=REQUEST) as wire:
        list(answers(wire))
    wait_until(lambda: held(node)[3] == 0, "the end of the first association", 20)
    before = held(node)
    for index in range(COUNT + 1):
        with asking(node, request=REQUEST) as wire:
            stream = answers(wire)
            sent = [next(stream) for _ in range(index)]
            wire.send(cancellation())
            *rest, final = list(stream)
            wire.send(ECHO)
            assert wire.status() == Status.SUCCESS
        assert len(sent) + len(rest) <= COUNT
        finals.append(final)

    assert {status for status, _ in finals} <= {Status.CANCEL, Status.SUCCESS}, "Success if all were sent already"
    assert {encoded for _, encoded in finals} == {b""}
    wait_until(
        lambda: is_no_more_than(node, before), "threads, descriptors, transactions and slots to be given back", 20
    )


@pytest.mark.parametrize("phase", ["work", "responses"])
def test_a_cancel_is_answered_within_a_tenth_of_a_second(
    node: Node, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that would last for seconds is a step of 1 ms for each of many entities, or of each response."""
    slow_check(monkeypatch) if phase == "work" else slow_responses(monkeypatch)
    with asking(node, request=REQUEST) as wire:
        time.sleep(0.2)
        wire.send(cancellation())
        started = time.monotonic()
        *_, (status, _) = answers(wire)
        elapsed_s = time.monotonic() - started

    assert status == Status.CANCEL
    assert elapsed_s < 5 * CANCEL_LIMIT_S, "the limit, and what a busy machine adds"


def slow_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each comparison that finding needs a thousand steps of a millisecond."""
    matching = catalog.find

    def slowly(snapshot: Any, level: Any, keys: Any, check: Callable[[], None]) -> Iterator[Any]:
        for entity in matching(snapshot, level, keys, check):
            for _ in range(1000):
                time.sleep(0.001)
                check()
            yield entity

    monkeypatch.setattr(catalog, "find", slowly)


def slow_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each response take 50 ms to encode."""
    encode = ResponseEncoder.encode

    def slowly(*arguments: Any) -> bytes:
        time.sleep(0.05)
        return encode(*arguments)

    monkeypatch.setattr(ResponseEncoder, "encode", slowly)


def test_a_slot_is_free_again_after_every_end(node: Node) -> None:
    """More callers end in the midst than have a slot at once."""
    for index in range(2 * node.settings.max_associations_each):
        wire = asking(node, request=REQUEST)
        next(answers(wire))
        (abort, close, Wire.reset)[index % 3](wire)
        wait_until(lambda: held(node)[3] == 0, "a free slot", 20)


def test_a_cancel_of_another_request_changes_nothing(node: Node) -> None:
    other = cancellation().replace(struct.pack("<HHIH", 0, 0x0120, 2, 1), struct.pack("<HHIH", 0, 0x0120, 2, 77))
    with asking(node, request=REQUEST) as wire:
        wire.send(other)

        *pending, final = list(answers(wire))

    assert (len(pending), final) == (COUNT, (Status.SUCCESS, b""))


def test_who_stops_a_node_may_close_its_database_though_a_query_outlives_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching, events = threading.Event(), list[str]()
    find = catalog.find

    def slow(*arguments: Any) -> Any:
        searching.set()
        time.sleep(0.5)
        events.append("read")
        return find(*arguments)

    monkeypatch.setattr(catalog, "find", slow)
    with answering_node(tmp_path, ITEMS) as node:
        wire = asking(node, request=REQUEST)
        assert searching.wait(20)
        abort(wire)
        time.sleep(0.1)
        node.entity.stop()
        events.append("stopped")

    assert events == ["read", "stopped"]
