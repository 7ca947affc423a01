"""Access over associations: who is let in, and which requests of each are served."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.access.callers import Caller, Callers
from node.access.rates import RateLimits
from node.dicom.sop_classes import AVAILABILITY_NOTIFICATION, STUDY_ROOT_FIND
from node.errors import Status
from node.ingest.refusals import read_refusals
from node.query.find import Finder
from tests.node.ingest.test_receiver import picture
from tests.support.dicom.answering import EXAMPLE, ITEMS, Node, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, uid

STORE, FIND, SIMILAR, CORRECT = "store", "find", "similar", "correct"
CALLERS: dict[str, Any] = {
    "modality": {"ae_titles": ["CT1"], "rights": ["store"]},
    "workstation": {"ae_titles": ["WS1"], "rights": ["find"], "disclosure": "FULL"},
    "reader": {"ae_titles": ["WS2"], "rights": ["similar"], "disclosure": "FULL"},
    "archive": {"ae_titles": ["PACS"], "rights": ["admin"]},
    "elsewhere": {"ae_titles": ["FAR"], "networks": ["10.0.0.0/8"], "rights": ["store"]},
    "quick": {"ae_titles": ["FAST"], "rights": ["find", "similar"], "disclosure": "FULL", "requests_per_minute": 2},
}
PLAIN, BY_EXAMPLE = identifier("STUDY", StudyInstanceUID="", PatientID=""), identifier("STUDY", EXAMPLE)
CONTEXTS = [SecondaryCaptureImageStorage, STUDY_ROOT_FIND, AVAILABILITY_NOTIFICATION, Verification]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("access") / "home", ITEMS, callers=CALLERS) as node:
        yield node


def associate(node: Node, title: str) -> Association:
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 200  # the first query may wait for the compiler
    contexts = [build_context(sop_class, ExplicitVRLittleEndian) for sop_class in CONTEXTS]
    return ae.associate(node.settings.host, node.settings.port, contexts, node.settings.ae_title)


@contextmanager
def associated(node: Node, title: str) -> Iterator[Association]:
    association = associate(node, title)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def served(node: Node, title: str) -> dict[str, int]:
    """Status of a request of each kind, over one association."""
    with associated(node, title) as association:
        statuses = {
            STORE: association.send_c_store(picture()).Status,
            FIND: list(association.send_c_find(PLAIN, StudyRoot))[-1][0].Status,
            SIMILAR: list(association.send_c_find(BY_EXAMPLE, StudyRoot))[-1][0].Status,
            CORRECT: association.send_n_create(_notification(), AVAILABILITY_NOTIFICATION, UID("2.25.7"))[0].Status,
        }
        assert association.send_c_echo().Status == Status.SUCCESS
    return statuses


def _notification() -> Dataset:
    """One that lacks most of what it must have."""
    notification = Dataset()
    notification.StudyInstanceUID = "2.25.8"
    return notification


@pytest.mark.parametrize(("title", "allowed"), [("CT1", STORE), ("WS1", FIND), ("WS2", SIMILAR), ("PACS", CORRECT)])
def test_each_caller_is_served_what_it_has_the_right_to_and_is_refused_the_rest(
    node: Node, title: str, allowed: str
) -> None:
    statuses = served(node, title)

    refused = {kind for kind, status in statuses.items() if status == Status.NOT_AUTHORIZED}
    assert refused == {STORE, FIND, SIMILAR, CORRECT} - {allowed}
    assert statuses[allowed] == (Status.MISSING_ATTRIBUTE if allowed == CORRECT else Status.SUCCESS)


@pytest.mark.parametrize("title", ["UNKNOWN", "FAR", "ct1"])
def test_an_unknown_caller_is_rejected_and_counted(node: Node, title: str) -> None:
    association = associate(node, title)

    node.receiver.refusals.write()
    counted = {one.calling_ae_title: one.reason for one in read_refusals(node.settings.run_path)}
    answer: Any = association.acceptor.primitive
    assert association.is_rejected
    assert (answer.result, answer.diagnostic) == (1, 3)
    assert counted[title].startswith("association: unknown caller: not in callers of the settings")


@pytest.mark.parametrize(("title", "status"), [("WS1", Status.NOT_AUTHORIZED), ("WS2", Status.SUCCESS)])
def test_the_view_needs_the_right_to_look_alikes(tmp_path: Path, title: str, status: Status) -> None:
    peers = {title: {"host": "127.0.0.1", "port": 104, "views": True}}
    with answering_node(tmp_path / "home", ITEMS, callers=CALLERS, peers=peers) as node:
        ae = AE(title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
        address = (node.settings.host, node.settings.port)
        association = ae.associate(*address, [build_context(STUDY_ROOT_FIND)], node.settings.view_ae_title)
        assert association.is_established
        request = identifier("STUDY", StudyInstanceUID=uid("1"), PatientID="")
        final = list(association.send_c_find(request, StudyRoot))[-1][0]
        association.release()

    assert final.Status == status


def test_a_caller_that_asks_too_often_is_to_retry(node: Node) -> None:
    with associated(node, "FAST") as association:
        answers = [list(association.send_c_find(PLAIN, StudyRoot))[-1][0] for _ in range(3)]
        echo = association.send_c_echo()

    assert [answer.Status for answer in answers] == [Status.SUCCESS, Status.SUCCESS, Status.OUT_OF_RESOURCES]
    assert answers[2].ErrorComment == "too many requests within a minute: retry later"
    assert echo.Status == Status.SUCCESS


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("this check is broken")


def test_a_broken_check_of_callers_rejects_everybody(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Callers, "of_association", broken)

    association = associate(node, "WS1")

    answer: Any = association.acceptor.primitive
    assert association.is_rejected
    assert answer.result == 2


@pytest.mark.parametrize(("owner", "name"), [(Caller, "check"), (Caller, "begin"), (RateLimits, "take")])
def test_a_broken_check_of_rights_or_rates_serves_nothing(
    owner: type, name: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    monkeypatch.setattr(Finder, "gather", lambda *_: pytest.fail("it was searched"))
    waiting = node.receiver.spool.depth()  # type: ignore[attr-defined]

    statuses = served(node, "FAST")

    assert Status.SUCCESS not in statuses.values()
    assert statuses[FIND] == statuses[SIMILAR] == Status.PROCESSING_FAILURE
    assert node.receiver.spool.depth() == waiting  # type: ignore[attr-defined]


def test_a_broken_check_of_the_kind_of_query_answers_none(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Caller, "begin", lambda *_: None)
    monkeypatch.setattr(Caller, "check", broken)

    with associated(node, "WS1") as association:
        responses = list(association.send_c_find(PLAIN, StudyRoot))

    assert [status.Status for status, _ in responses] == [Status.INTERNAL_ERROR]


def test_without_callers_only_this_machine_is_served(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", ITEMS) as node, associated(node, "ANYBODY") as association:
        assert association.send_c_store(picture()).Status == Status.SUCCESS
