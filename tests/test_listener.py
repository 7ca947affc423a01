"""Connections before they are associations: silent ones cost little, keep nobody out, and exhaust nothing."""

import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE

from node.dicom import listener as listener_module
from node.dicom.association_request import AssociationRequest
from node.dicom.listener import MAX_CONNECTIONS, Listener, connection_limit
from node.dicom.probe import answers
from storage.spool.queue import Spool
from tests.answering import Node, answering_node
from tests.running import REPOSITORY, free_port, program, wait_until
from tests.test_receiver import octets_of, picture, receiver_of
from tests.wire import ASSOCIATE_AC, C_STORE_RQ, COMMAND, ECHO, LAST, SECONDARY_CAPTURE, STORE, Wire, command, p_data

STORED = p_data(1, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.1"))


class Everybody:
    """A policy that admits all, and remembers what it is to count."""

    ae_title, accept_unknown_sop_classes = "LOOKALIKE", True

    def __init__(self) -> None:
        self.noted: list[str] = []

    def admit(self, request: AssociationRequest, *, stores: bool) -> Any:
        return lambda: None

    def note(self, reason: str, calling_ae_title: str) -> None:
        self.noted.append(reason)


class Served:
    """A listener on its own, with a spool behind it."""

    def __init__(self, folder: Path, timeout_s: float = 20, tls: ssl.SSLContext | None = None) -> None:
        self.ae, self.port, self.policy = AE("LOOKALIKE"), free_port(), Everybody()
        self.ae.network_timeout = timeout_s
        self.spool = Spool(folder / "spool", capacity=100, free_bytes=0)
        receiver = receiver_of(self.spool)
        self.listener = Listener(self.ae, ("127.0.0.1", self.port), [], receiver, self.policy, tls=tls)

    def close(self) -> None:
        self.listener.stop()

    def open(self) -> Wire:
        return Wire.open("127.0.0.1", self.port)

    def associate(self) -> Wire:
        return Wire.associate("127.0.0.1", self.port)


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
from tests.test_listener import Served
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


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), items=[]) as node:
        yield node


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    command = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


@pytest.fixture
def secured(tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[Served]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with closing(Served(tmp_path, timeout_s=2, tls=context)) as served:
        yield served


def trusting(certificate: tuple[Path, Path], served: Served) -> socket.socket:
    context = ssl.create_default_context(cafile=certificate[0])
    plain = socket.create_connection(("127.0.0.1", served.port), 20)
    return context.wrap_socket(plain, server_hostname="localhost")


def test_instances_are_stored_over_tls(secured: Served, certificate: tuple[Path, Path]) -> None:
    octets = octets_of(picture())
    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC
        for size in (1, 1000, 100_000):
            pieces = [p_data(1, 0, octets[at : at + size]) for at in range(0, len(octets), size)]
            wire.send(STORED + b"".join(pieces) + p_data(1, LAST, b""))
            assert wire.status() == 0

    assert len(secured.spool) == 3
    assert all(entry.path.read_bytes().endswith(octets) for entry in secured.spool)


def test_pdus_that_came_in_one_record_of_tls_are_all_answered(secured: Served, certificate: tuple[Path, Path]) -> None:
    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC

        wire.send(ECHO * 100)  # decrypted at once: the socket itself has nothing more to read

        assert [wire.status() for _ in range(100)] == [0] * 100


def test_pynetdicom_stores_over_tls(secured: Served, certificate: tuple[Path, Path]) -> None:
    ae = AE("CLIENT")
    ae.add_requested_context(SecondaryCaptureImageStorage, "1.2.840.10008.1.2.1")
    context = ssl.create_default_context(cafile=certificate[0])
    association = ae.associate("localhost", secured.port, ae_title="LOOKALIKE", tls_args=(context, "localhost"))
    assert association.is_established

    status = association.send_c_store(picture())
    association.release()

    assert status.Status == 0
    assert len(secured.spool) == 1


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x00\xc8\x01", STORE, b"GET / HTTP/1.1\r\n\r\n"])
def test_who_does_not_speak_tls_to_the_end_costs_its_connection_only(
    said: bytes, secured: Served, certificate: tuple[Path, Path]
) -> None:
    with Wire.open("127.0.0.1", secured.port) as wire:
        wire.send(said)
        while wire._exactly(1):
            continue

    with Wire(trusting(certificate, secured)) as wire:
        wire.send(STORE)
        assert wire.kind() == ASSOCIATE_AC
    assert answers(secured.listener, "LOOKALIKE", 10)
