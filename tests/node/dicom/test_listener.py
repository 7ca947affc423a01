"""Connections before they are associations: silent ones cost little, keep nobody out, and exhaust nothing."""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from node.dicom import listener as listener_module
from node.dicom.listener import MAX_CONNECTIONS, connection_limit
from node.roles.probe import answers
from tests.support.dicom.listening import Served
from tests.support.dicom.wire import ASSOCIATE_AC, ECHO, STORE, Wire
from tests.support.running import REPOSITORY, wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with closing(Served(tmp_path)) as served:
        yield served


def test_a_silent_connection_takes_no_thread(served: Served) -> None:
    before = threading.active_count()

    with ExitStack() as stack:
        silent = [stack.enter_context(served.open()) for _ in range(50)]
        wait_until(lambda: len(served.listener._waiting) == 50, "all to be accepted", 10)

        assert threading.active_count() <= before
        silent[0].send(STORE)
        assert silent[0].kind() == ASSOCIATE_AC


def test_a_silent_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    with closing(Served(tmp_path, timeout_s=0.3)) as served, served.open() as wire:
        assert wire.receive() is None
        assert len(served.listener._waiting) == 0


def test_beyond_the_limit_the_one_that_was_silent_longest_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "connection_limit", lambda: 10)
    with closing(Served(tmp_path)) as served, ExitStack() as stack:
        associated = stack.enter_context(served.associate())
        silent = [stack.enter_context(served.open()) for _ in range(40)]
        stalled = stack.enter_context(served.open())
        stalled.send(STORE[:20])

        newcomer = stack.enter_context(served.associate())

        assert silent[0].receive() is None
        for wire in (associated, newcomer):
            wire.send(ECHO)
            assert wire.status() == 0


def test_connections_that_stop_within_their_request_give_way_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "connection_limit", lambda: 6)
    with closing(Served(tmp_path)) as served, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(served.open()).send(STORE[:20])
            time.sleep(0.02)

        with served.associate() as wire:
            wire.send(ECHO)
            assert wire.status() == 0


EXHAUSTED = """
import resource, sys, time
from contextlib import closing
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (90, 90))
from node.dicom import listener
listener.MAX_CONNECTIONS = listener.MIN_CONNECTIONS = 1000
from tests.support.dicom.listening import Served
with closing(Served(Path(sys.argv[1]))) as served:
    print(served.port, flush=True)
    sys.stdin.readline()
    print(time.process_time(), served.policy.noted.count("connection: cannot accept a connection"), flush=True)
    sys.stdin.readline()
"""


def test_without_descriptors_the_listener_pauses_and_goes_on(tmp_path: Path) -> None:
    run = [sys.executable, "-c", EXHAUSTED, str(tmp_path)]
    with (
        subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process,
        ExitStack() as stack,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        wires = [stack.enter_context(Wire.open("127.0.0.1", port)) for _ in range(120)]
        time.sleep(3)
        process.stdin.write("\n")
        process.stdin.flush()
        _, noted = process.stdout.readline().split()
        for wire in wires:
            wire.reset()

        with Wire.associate("127.0.0.1", port) as wire:
            wire.send(ECHO)
            status = wire.status()
        process.stdin.write("\n")
        process.stdin.flush()

    assert status == 0
    assert 1 <= int(noted) <= 10, "it tries again now and then, not at full speed"


def test_the_limit_of_descriptors_is_raised_and_the_connections_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 1 << 20)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))

    assert connection_limit() == MAX_CONNECTIONS
    assert limits[-1][0] >= 5 * MAX_CONNECTIONS

    limits.append((1024, 1024))
    assert 16 <= connection_limit() < 1024 / 5


def test_a_thread_that_cannot_start_costs_its_connection_only(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, served.open() as wire:
        patch.setattr("node.dicom.listener.AcceptedAssociation.start", fails)
        wire.send(STORE)
        assert wire.receive() is None

    served.associate().reset()
    assert "connection: cannot serve a connection" in served.policy.noted


def test_a_listener_that_serves_answers_the_probe_also_without_quota(served: Served) -> None:
    def nobody(*_: object, **__: object) -> Any:
        raise AssertionError("the probe takes no slot")

    served.policy.admit = nobody  # type: ignore[method-assign]

    assert all(answers(served.listener, "LOOKALIKE", 10) for _ in range(3))
    wait_until(lambda: not served.listener._associations, "the probe to leave nothing behind", 10)


@pytest.mark.parametrize(
    "stuck",
    [
        "node.dicom.negotiation.Acceptor._negotiate_as_acceptor",
        "node.dicom.message_reader.MessageReader.read_values",
        "pynetdicom.association.Association._serve_request",
    ],
)
def test_a_listener_whose_associations_hang_does_not_answer_the_probe(
    stuck: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(stuck, lambda *_: released.wait(30))

    assert not answers(served.listener, "LOOKALIKE", 0.5)

    released.set()


def test_a_listener_that_stopped_does_not_answer_the_probe(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.close()

    assert not served.listener.is_running
