"""Storage Commitment: what is kept is committed, and the report arrives, over the same association or its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association

from node.commitment import reporter
from node.commitment.reporter import CommitmentReporter
from node.commitment.request_book import RequestBook
from node.dicom.sop_classes import STORAGE_COMMITMENT
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.kept import KEEPING, images, items, keep
from tests.support.dicom.key_objects import item
from tests.support.running import free_port, wait_until

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SC = SecondaryCaptureImageStorage


@dataclass
class Modality:
    """A user of storage commitment; `reports` are event types and event information."""

    node: Node
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    status: int = 0

    def take(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return self.status, None

    @contextmanager
    def associate(self) -> Iterator[Association]:
        settings, contexts = self.node.settings, [build_context(STORAGE_COMMITMENT)]
        handlers: Any = [(evt.EVT_N_EVENT_REPORT, self.take)]
        association = AE("MODALITY").associate(
            settings.host, settings.port, contexts, settings.ae_title, evt_handlers=handlers
        )
        assert association.is_established
        yield association
        association.release()

    def request(
        self, association: Association, *uids: str, action: int = 1, to: str = WELL_KNOWN, **changes: Any
    ) -> int:
        """Status of an N-ACTION."""
        references = [item(ReferencedSOPClassUID=SC, ReferencedSOPInstanceUID=uid) for uid in uids]
        information = item(**({"TransactionUID": "2.25.7", "ReferencedSOPSequence": references} | changes))
        status, _ = association.send_n_action(information, action, STORAGE_COMMITMENT, to)
        return int(status.Status)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take reports over associations of the node's own."""
        ae = AE("MODALITY")
        ae.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
        port = self.node.settings.peers["MODALITY"].port
        handlers: Any = [(evt.EVT_N_EVENT_REPORT, self.take)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        assert server is not None
        yield
        server.shutdown()

    @property
    def waiting(self) -> int:
        return len(RequestBook(self.node.settings.commitments_path))

    def reporter(self) -> CommitmentReporter:
        return CommitmentReporter(self.node.settings, self.node.entity.judge())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    table = {"MODALITY": {"host": "127.0.0.1", "port": free_port()}}
    with answering_node(
        tmp_path_factory.mktemp("node") / "home", items=items(images(3)), peers=table, **KEEPING
    ) as node:
        keep(node.settings, images(2))
        yield node


@pytest.fixture
def modality(node: Node) -> Iterator[Modality]:
    modality = Modality(node)
    yield modality
    book = RequestBook(node.settings.commitments_path)
    for waiting in book.waiting():
        book.remove(waiting)


def uids_of(information: Dataset, keyword: str) -> list[str]:
    return [each.ReferencedSOPInstanceUID for each in information.get(keyword, [])]


KEPT = ["2.25.9.1.0", "2.25.9.1.1"]


def test_what_is_kept_is_committed_over_the_same_association(modality: Modality) -> None:
    with modality.associate() as association:
        assert modality.request(association, *KEPT) == 0
        wait_until(lambda: modality.waiting == 0, "the report", 10)

    [(event_type, information)] = modality.reports
    assert (event_type, information.TransactionUID, information.RetrieveAETitle) == (1, "2.25.7", "LOOKALIKE")
    assert uids_of(information, "ReferencedSOPSequence") == KEPT
    assert "FailedSOPSequence" not in information


def test_what_is_not_kept_fails_with_its_reason(modality: Modality) -> None:
    other = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=KEPT[1])
    here = [item(ReferencedSOPClassUID=SC, ReferencedSOPInstanceUID=uid) for uid in (KEPT[0], "2.25.9.1.2", "2.25.404")]

    with modality.associate() as association:
        assert modality.request(association, ReferencedSOPSequence=[*here, other]) == 0
        wait_until(lambda: modality.waiting == 0, "the report", 10)

    [(event_type, information)] = modality.reports
    assert (event_type, uids_of(information, "ReferencedSOPSequence")) == (2, KEPT[:1])
    reasons = {each.ReferencedSOPInstanceUID: each.FailureReason for each in information.FailedSOPSequence}
    assert reasons == {"2.25.9.1.2": 0x0112, "2.25.404": 0x0112, KEPT[1]: 0x0119}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"action": 2}, 0x0123),
        ({"to": "1.2.3"}, 0x0112),
        ({"TransactionUID": ""}, 0x0115),
        ({"TransactionUID": "Doe"}, 0x0115),
        ({"ReferencedSOPSequence": []}, 0x0115),
        ({"ReferencedSOPSequence": [item(ReferencedSOPInstanceUID="1.2")]}, 0x0115),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(modality: Modality, changes: dict[str, Any], status: int) -> None:
    with modality.associate() as association:
        assert modality.request(association, *KEPT, **changes) == status

    assert (modality.waiting, modality.reports) == (0, [])


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "AFTER_S", 0)


@pytest.mark.usefixtures("_at_once")
def test_a_peer_that_releases_is_called_until_it_takes_the_report(modality: Modality) -> None:
    with modality.associate() as association:
        modality.request(association, *KEPT)
    calling = modality.reporter()
    calling.report_all()  # nobody listens
    assert modality.waiting == 1
    calling._pauses.clear()

    with modality.listening():
        modality.status = 0x0110
        calling.report_all()
        assert modality.waiting == 1
        modality.status = 0
        calling._pauses.clear()
        CommitmentReporter(modality.node.settings, modality.node.entity.judge()).report_all()

    assert modality.waiting == 0
    assert [event for event, _ in modality.reports] == [1, 1]
    assert uids_of(modality.reports[-1][1], "ReferencedSOPSequence") == KEPT


@pytest.mark.usefixtures("_at_once")
def test_the_report_waits_for_what_is_not_indexed_yet(modality: Modality) -> None:
    spool = modality.node.finder.retriever.spool
    entry = spool.put([b"being indexed"], "2.25.77")
    with modality.associate() as association:
        modality.request(association, KEPT[0], "2.25.77")
    calling = modality.reporter()
    with modality.listening():
        calling.report_all()
        assert (modality.waiting, modality.reports) == (1, [])
        spool.set_aside(entry, "undecodable", "", {"SOPInstanceUID": "2.25.77"}, keep=False)

        calling.report_all()

    [(event_type, information)] = modality.reports
    assert (modality.waiting, event_type, information.FailedSOPSequence[0].FailureReason) == (0, 2, 0x0110)


@pytest.mark.usefixtures("_at_once")
def test_after_the_limit_a_report_is_given_up(modality: Modality) -> None:
    with modality.associate() as association:
        modality.request(association, *KEPT)
    calling = modality.reporter()
    calling._settings = modality.node.settings.model_copy(update={"commitment_limit_s": 0.01})
    time.sleep(0.02)

    calling.report_all()

    assert modality.waiting == 0


def test_storage_commitment_is_offered_only_where_objects_are_kept(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", items=[]) as node:
        association = node.associate(STORAGE_COMMITMENT)
        rejected = [context.result for context in association.rejected_contexts]
        association.release()

    assert rejected == [3]
