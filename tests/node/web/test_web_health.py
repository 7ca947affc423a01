"""The page's server: who may read it, whether the node is alive and ready, and how it ends."""

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.configuration import load_settings
from node.home import Reading, make_private
from node.processes import Heartbeat, Role, processes, role_lock
from node.query.retriever import Retriever
from node.roles import web
from node.settings import Settings
from node.web.app import build, serve
from node.web.resources import WebResources
from storage.database.database import Database
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.running import free_port, wait_until
from tests.support.web.web_archive import HERE

MODEL = "model"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = load_settings(home=tmp_path / "home", spool_free_bytes=0, http_port=free_port())
    make_private(settings)
    return settings


@pytest.fixture
def reading(home: Settings) -> Iterator[Reading]:
    with Database.create_or_open(home.database_path, 64, MODEL, 2**26) as database:
        yield Reading(database, Retriever(Spool(home.spool_path, 10, 0), LocalIndex(database).view, MODEL))


@pytest.fixture
def roles(home: Settings) -> Iterator[dict[tuple[Role, int], Heartbeat]]:
    """Signs of life of an index role and two receivers, given once."""
    with ExitStack() as stack:
        names = [(role, number) for role in (Role.INDEX, Role.DICOM) for number in processes(home, role)]
        heartbeats = {name: stack.enter_context(role_lock(home, *name)) for name in names}
        for heartbeat in heartbeats.values():
            heartbeat.renew()
        yield heartbeats


def connect(home: Settings, reading: Reading, **changes: Any) -> TestClient:
    app = build(WebResources.of(home.model_copy(update=changes), reading))
    return TestClient(app, base_url="http://127.0.0.1", client=HERE)


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_a_page_of_this_machine_answers_under_its_own_names_only(
    home: Settings, reading: Reading, listening: str
) -> None:
    client = connect(home, reading, host=listening)

    def status(name: str) -> int:
        return client.get("/healthz", headers={"Host": name}).status_code

    own = ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "localhost", "LOCALHOST:8080", "127.0.0.2:1"]
    foreign = ["attacker.example", "localhost.attacker.example", "10.1.1.1", "[2001:db8::1]:8080", "[::1", "", "a:b:c"]
    assert {name: status(name) for name in own} == dict.fromkeys(own, 200)
    assert {name: status(name) for name in foreign} == dict.fromkeys(foreign, 400)


def test_a_node_that_listens_to_others_answers_under_any_name(home: Settings, reading: Reading) -> None:
    client = connect(home, reading, host="0.0.0.0")

    assert client.get("/api/status", headers={"Host": "lookalike.hospital.example"}).status_code == 200


def test_the_process_says_that_it_is_alive(home: Settings, reading: Reading) -> None:
    client = connect(home, reading)

    assert client.get("/healthz").json() == {"alive": True}
    assert client.head("/healthz").status_code == 200


def test_the_node_is_ready_when_every_role_gives_signs_of_life(
    home: Settings, reading: Reading, roles: dict[tuple[Role, int], Heartbeat]
) -> None:
    answer = connect(home, reading).get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "reasons": [], "waiting": 0}


def test_the_node_is_not_ready_while_a_role_is_missing_starting_or_silent(
    home: Settings, reading: Reading, roles: dict[tuple[Role, int], Heartbeat], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, now_ns = connect(home, reading, receivers=3), time.monotonic_ns()
    roles[Role.DICOM, 1].clear()
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns - 11 * 10**9)
    roles[Role.DICOM, 2].renew()
    monkeypatch.undo()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reasons"] == [
        "role dicom is not ready yet",
        "role dicom-2 has given no sign of life for 11 s",
        "role dicom-3 is not running",
    ]


def test_the_node_is_not_ready_while_its_spool_is_full(
    home: Settings, reading: Reading, roles: dict[tuple[Role, int], Heartbeat]
) -> None:
    reading.retriever.spool.put([b"waits"])

    full = connect(home, reading, spool_capacity=1).get("/readyz")
    disk = connect(home, reading, spool_free_bytes=1 << 62).get("/readyz")

    assert (full.status_code, disk.status_code) == (503, 503)
    assert full.json()["reasons"] == ["1 instances wait to be indexed: senders get A700"]
    assert disk.json()["reasons"] == ["disk of the spool is full: senders get A700"]


def fetch(url: str) -> bytes:
    """Body at an address that something may listen on only soon."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serving_ends_with_the_roles_own_signal(home: Settings, reading: Reading, host: str) -> None:
    served = home.model_copy(update={"host": host})
    stop = threading.Event()
    found: list[bytes] = []

    def visit() -> None:
        try:
            found.append(fetch(f"{served.url}healthz"))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        visitor = threading.Thread(target=visit)
        visitor.start()
        serve(WebResources.of(served, reading), stop)
        visitor.join()
    finally:
        signal.signal(signal.SIGTERM, previous)

    assert json.loads(found[0]) == {"alive": True}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, served.http_port), timeout=1)


def test_a_port_in_use_is_an_error(home: Settings, reading: Reading) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        served = home.model_copy(update={"http_port": other.getsockname()[1]})

        with pytest.raises(OSError, match="in use"):
            serve(WebResources.of(served, reading), threading.Event())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost"])
def test_the_page_gives_signs_of_life_only_while_its_server_answers(
    home: Settings, reading: Reading, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, stop = home.model_copy(update={"host": host}), threading.Event()
    renewed = threading.Semaphore(0)
    monkeypatch.setattr(web, "PROBE_EVERY_S", 0.01)

    class Counted(Heartbeat):
        def renew(self) -> None:
            renewed.release()

    resources = WebResources.of(served, reading)
    watching = threading.Thread(target=web._renew_while_answering, args=[resources, stop, Counted(-1)])
    watching.start()
    ending = threading.Event()
    serving = threading.Thread(target=serve, args=[resources, ending])
    assert not renewed.acquire(timeout=0.2)
    serving.start()
    assert renewed.acquire(timeout=20)
    ending.set()
    serving.join()

    wait_until(lambda: not renewed.acquire(timeout=0.2), "the signs of life to end", 20)
    stop.set()
    watching.join()
