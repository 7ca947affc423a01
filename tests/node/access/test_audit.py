"""Audit messages: what has one, what it says, and that no outage of the collector loses it or holds care up."""

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pynetdicom import AE, build_context

from node.access.audit_sender import AuditSender
from node.access.audit_trail import AuditTrail, audit_files
from node.access.certificates import Authority
from node.dicom.sop_classes import STUDY_ROOT_FIND
from node.home import make_private
from node.settings import Settings
from storage.record import Record
from tests.support.dicom.answering import ITEMS, Node, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, uid
from tests.support.dicom.audit_reader import Message, frames, read_message
from tests.support.running import free_port, program, wait_until
from tests.support.web.web_archive import BASE, web_archive

CALLERS: dict[str, Any] = {
    "reading room": {"ae_titles": ["WS1"], "web": True, "rights": ["find", "retrieve"], "disclosure": "FULL"}
}


def messages(settings: Settings) -> list[Message]:
    """Every message that was written, each of them well formed."""
    return [read_message(frame) for path in audit_files(settings.audit_path) for frame in frames(path.read_bytes())]


def ask(node: Node, title: str) -> int | None:
    """Status of a query, None if the association is rejected."""
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    address = (node.settings.host, node.settings.port)
    association = ae.associate(*address, [build_context(STUDY_ROOT_FIND)], node.settings.ae_title)
    if not association.is_established:
        return None
    request = identifier("STUDY", StudyInstanceUID="", PatientID="A")
    status = list(association.send_c_find(request, StudyRoot))[-1][0].Status
    association.release()
    return int(status)


def test_queries_and_refusals_of_dicom_have_a_message_each(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", ITEMS, callers=CALLERS) as node:
        assert ask(node, "WS1") == 0
        assert ask(node, "STRANGER") is None
        settings = node.settings

    query, alert = messages(settings)
    assert (query.event, query.outcome, query.participants) == (
        "Query", 0, {"WS1": "127.0.0.1", settings.ae_title: ""},
    )  # fmt: skip
    assert query.objects == [STUDY_ROOT_FIND]
    assert b"\x10\x00\x20\x00" in query.query
    assert (alert.event, alert.kind, alert.outcome) == ("Security Alert", "Node Authentication", 4)
    assert alert.participants["STRANGER"] == "127.0.0.1"


def test_searches_retrievals_and_refusals_of_the_web_have_a_message_each(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", callers=CALLERS) as archive:
        archive.get("/studies?PatientID=A")
        archive.get(f"/studies/{uid('1')}/metadata")
        archive.get(f"/studies?similarto={uid('1.1.1')}")
        TestClient(archive.app, base_url="http://127.0.0.1", client=("10.1.2.3", 1)).get(f"{BASE}/studies")
        archive.resources.trail.close()
        settings = archive.resources.settings

    found = messages(settings)

    assert [(one.event, one.kind) for one in found] == [
        ("Query", ""),
        ("DICOM Instances Accessed", ""),
        ("Query", ""),
        ("Security Alert", "Use of Restricted Function"),
        ("Security Alert", "Node Authentication"),
    ]
    assert found[0].query == f"{BASE}/studies?PatientID=A".encode()
    assert found[1].objects == [uid("1")]
    assert found[3].participants["reading room"] == "127.0.0.1"


def test_previews_of_a_study_have_one_message_a_minute_for_each_caller(tmp_path: Path) -> None:
    viewer = {"web": True, "rights": ["similar"], "disclosure": "FULL"}
    with web_archive(tmp_path / "home", callers={"viewer": viewer}) as archive:
        for _ in range(3):
            archive.client.get(f"/preview/{uid('1.1.1')}.png")
        archive.resources.trail.close()
        settings = archive.resources.settings

    [found] = messages(settings)
    assert (found.event, found.objects) == ("DICOM Instances Accessed", [uid("1")])
    assert found.participants == {"viewer": "127.0.0.1"}


def record(place: str, sender: str) -> Record:
    item = next(item for item in ITEMS if item.record.sop_instance_uid == uid(place))
    item.record.instance["RetrieveAETitle"] = sender  # type: ignore[index]
    return item.record


def test_what_arrived_has_one_message_a_study_and_sender(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    make_private(settings)
    trail = AuditTrail(settings, "index")
    trail.transferred([record("1.1.1", "CT1"), record("1.1.2", "CT1"), record("3.1.1", "CT2")])
    trail.started()
    trail.deleted(uid("3"), "B")
    trail.close()

    first, second, started, deleted = messages(settings)

    assert (first.event, first.objects) == ("DICOM Instances Transferred", [uid("1"), "A"])
    assert (set(second.participants), second.objects) == ({"CT2", settings.ae_title}, [uid("3"), "B"])
    assert (started.event, started.kind) == ("Application Activity", "Application Start")
    assert (deleted.event, deleted.objects) == ("DICOM Study Deleted", [uid("3"), "B"])


EVENTS: dict[str, Any] = {
    "start": lambda trail, _: trail.started(),
    "stop": lambda trail, _: trail.started(stopped=True),
    "rejection": lambda trail, text: trail.rejected(text, "10.0.0.1", "unknown caller"),
    "denial": lambda trail, text: trail.denied(text, "", "store: this caller has not the right to"),
    "query": lambda trail, text: trail.queried(text, "::1", STUDY_ROOT_FIND, text.encode()),
    "query without a key": lambda trail, text: trail.queried(text, "::1", "", b""),
    "retrieval": lambda trail, text: trail.retrieved(text, "10.0.0.1", uid("1")),
    "access": lambda trail, text: trail.accessed(text, "10.0.0.1", text),
    "view": lambda trail, text: trail.viewed(text, "10.0.0.1", uid("1")),
    "arrival": lambda trail, text: trail.transferred([record("1.1.1", text)]),
    "expiry": lambda trail, _: trail.expired([record("1.1.1", "CT1")], "previews deleted: beyond preview_days"),
    "erasure": lambda trail, text: trail.deleted(uid("1"), text),
    "erasure of a study": lambda trail, _: trail.deleted(uid("1"), ""),
}


@pytest.mark.parametrize("text", ["A", "", " Ä\\<&>\"' ", "\x00\x1b$B\x7f\ufffe\ud800", "x" * 70_000])
@pytest.mark.parametrize("event", EVENTS)
def test_every_message_is_valid_whatever_it_names(event: str, text: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    make_private(settings)
    trail = AuditTrail(settings, "index")

    EVENTS[event](trail, text.encode("utf-8", "replace").decode() if event.startswith("query") else text)
    trail.close()

    assert len(messages(settings)) == 1  # each is checked by the schema


def test_each_way_to_record_has_a_valid_message_here() -> None:
    ways = {name for name in vars(AuditTrail) if not name.startswith("_")} - {"close", "record"}

    assert ways == {name for event in EVENTS.values() for name in event.__code__.co_names} & set(vars(AuditTrail)) - {
        "record"
    }


def test_a_full_disk_costs_the_record_and_not_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.access.audit_trail.write_durably", full)
    with answering_node(tmp_path / "home", ITEMS, callers=CALLERS) as node:
        assert ask(node, "WS1") == 0


def test_beyond_the_limit_the_oldest_go(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", audit_files=2)
    make_private(settings)
    for number in range(4):
        trail = AuditTrail(settings, f"p{number}")
        trail.started()
        trail.close()

    assert [path.name.split("-")[1] for path in audit_files(settings.audit_path)] == ["p2", "p3"]


@pytest.fixture
def secure(tmp_path: Path) -> Settings:
    authority = Authority.open(tmp_path / "certificates", days=2)
    for name in ("node", "collector"):
        authority.issue(name, ["localhost"], days=2)
    files = {"tls_certificate": "node.pem", "tls_key": "node.key", "tls_authorities": "authority.pem"}
    paths: dict[str, Any] = {name: authority.folder / file for name, file in files.items()}
    settings = Settings(home=tmp_path / "home", audit_collector=f"localhost:{free_port()}", **paths)
    make_private(settings)
    return settings


@pytest.mark.peers
def test_an_outage_of_the_collector_loses_nothing(secure: Settings, tmp_path: Path) -> None:
    trail, sent = AuditTrail(secure, "dicom"), []
    stop = threading.Event()
    sending = threading.Thread(target=AuditSender(secure, retry_s=0.1).run, args=[stop])
    sending.start()
    try:
        for number in range(3):  # before, while and after nobody listens
            trail.queried(f"WS{number}", "10.1.2.3", "", b"")
            if number != 1:
                sent += collected(secure, tmp_path / f"{number}.txt")
    finally:
        trail.close()
        stop.set()
        sending.join()

    callers = [next(name for name in one.participants if name.startswith("WS")) for one in sent]
    assert callers == ["WS0", "WS1", "WS2"]
    assert audit_files(secure.audit_path) == []


def collected(settings: Settings, output: Path) -> list[Message]:
    """What OpenSSL's server receives until nothing waits any more; it asks for a certificate."""
    folder = settings.tls_authorities.parent if settings.tls_authorities else Path()
    port = settings.audit_collector.rpartition(":")[2]
    command = [program("openssl"), "s_server", "-accept", port, "-quiet", "-Verify", "1", "-verify_return_error"]
    command += ["-cert", f"{folder}/collector.pem", "-key", f"{folder}/collector.key"]
    command += ["-CAfile", f"{folder}/authority.pem"]
    with output.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE)
    try:
        wait_until(lambda: _took_all(settings, output), "the collector to take what waits", 30)
    finally:
        server.kill()
        server.communicate()
    return [read_message(frame) for frame in frames(output.read_bytes())]


def _took_all(settings: Settings, output: Path) -> bool:
    return not audit_files(settings.audit_path) and bool(re.search(rb"</AuditMessage>$", output.read_bytes()))
