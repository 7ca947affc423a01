"""C-GET through the node: each image of the source PACS arrives on the caller's association, and is counted right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association

from node.retrieve import forward
from tests.node.ingest.test_receiver import octets_of
from tests.support.dicom.answering import Node, StudyRoot, answering_node
from tests.support.peers.pacs import ALL, GET, PATIENT_GET, Pacs, counts, numbered, peers, running_pacs, study
from tests.support.running import free_port, wait_until

COUNT = 5
SC = SecondaryCaptureImageStorage


@dataclass
class Site:
    """A node and the PACS behind it."""

    node: Node
    pacs: Pacs
    received: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def associate(self, model: UID = GET, *, store: Callable[[Any], int] | None = None) -> Iterator[Association]:
        """An association of a caller that takes Secondary Capture images."""

        def keep(event: Any) -> int:
            self.received[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
            return store(event) if store else 0

        ae = AE("CLIENT")
        ae.maximum_pdu_size = 4096
        contexts = [build_context(model), build_context(SC, ExplicitVRLittleEndian)]
        address = (self.node.settings.host, self.node.settings.port)
        handlers: list[Any] = [(evt.EVT_C_STORE, keep)]
        roles: Any = [build_role(SC, scp_role=True)]
        association = ae.associate(*address, contexts, "LOOKALIKE", 4096, ext_neg=roles, evt_handlers=handlers)
        assert association.is_established
        yield association
        association.release()

    def get(self, model: UID = GET, store: Callable[[Any], int] | None = None) -> list[tuple[Dataset, Dataset | None]]:
        """Responses to a C-GET of the study."""
        with self.associate(model, store=store) as association:
            responses = list(association.send_c_get(study(), model))
            assert association.is_established
            return responses


@contextmanager
def running_site(home: Path, **behaviour: Any) -> Iterator[Site]:
    pacs = Pacs([numbered(n) for n in range(COUNT)], **behaviour)
    with running_pacs(pacs), answering_node(home, items=[], **peers(pacs.port)) as node:
        yield Site(node, pacs)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site") / "home") as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    shared.received.clear()
    return shared


@pytest.mark.parametrize("in_memory_bytes", [forward.IN_MEMORY_BYTES, 1])
@pytest.mark.parametrize("model", [GET, PATIENT_GET])
def test_every_image_arrives_as_the_source_sent_it(
    site: Site, model: UID, in_memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "IN_MEMORY_BYTES", in_memory_bytes)

    responses = site.get(model)

    assert [counts(status) for status, _ in responses] == [
        *((0xFF00, number, 0, 0, COUNT - number) for number in range(1, COUNT + 1)),
        (0x0000, COUNT, 0, 0, None),
    ]
    assert site.received == {dataset.SOPInstanceUID: octets_of(dataset) for dataset in site.pacs.datasets}


def test_an_image_larger_than_a_pdu_and_of_odd_pieces_arrives_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = numbered(1)
    large.Rows, large.Columns = 500, 501
    large.PixelData = bytes(range(250)) * 1002
    monkeypatch.setattr(site.pacs, "datasets", [large])

    *_, (status, _) = site.get()

    assert status.Status == 0
    assert site.received == {large.SOPInstanceUID: octets_of(large)}


def test_what_the_caller_refuses_or_warns_of_is_counted_and_listed(site: Site) -> None:
    answers = iter([0xA700, 0x0000, 0xB007, 0x0000, 0xC000])

    *_, (status, identifier) = site.get(store=lambda _: next(answers))

    assert counts(status) == (0xB000, 2, 2, 1, None)
    assert identifier is not None
    assert list(identifier.FailedSOPInstanceUIDList) == ["2.25.9.1.0", "2.25.9.1.4"]


def test_an_image_of_a_class_that_the_caller_does_not_take_fails_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = numbered(99)
    odd.SOPClassUID = odd.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    monkeypatch.setattr(site.pacs, "datasets", [odd, numbered(1)])

    *_, (status, _) = site.get()

    assert counts(status) == (0xB000, 1, 1, 0, None)
    assert list(site.received) == ["2.25.9.1.1"]


def test_an_image_that_is_larger_than_the_limit_fails(tmp_path: Path) -> None:
    with running_site(tmp_path / "home") as site:
        site.node.entity.stop()
        site.node.entity.settings = site.node.settings.model_copy(update={"max_relayed_bytes": 100})
        site.node.entity.start()

        *_, (status, _) = site.get()

    assert status.Status in (0xA702, 0xB000)
    assert (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (0, COUNT)
    assert site.received == {}


def test_a_cancel_half_way_stops_the_images(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.1) as site, site.associate() as association:
        statuses = []
        for number, (status, _) in enumerate(association.send_c_get(study(), GET, msg_id=7)):
            statuses.append(status)
            if number == 1:
                association.send_c_cancel(7, query_model=GET)
        after = len(site.received)

    last = statuses[-1]
    assert last.Status == 0xFE00
    assert 2 <= after == last.NumberOfCompletedSuboperations < COUNT
    assert last.NumberOfCompletedSuboperations + last.NumberOfRemainingSuboperations == COUNT
    assert last.NumberOfFailedSuboperations == 0


def test_nothing_follows_a_cancel_that_the_source_ignores(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.1, ignores_cancel=True) as site, site.associate() as association:
        responses = association.send_c_get(study(), GET, msg_id=7)
        next(responses)
        association.send_c_cancel(7, query_model=GET)
        *_, (last, _) = responses

    assert last.Status == 0xFE00
    assert len(site.received) == last.NumberOfCompletedSuboperations < COUNT
    assert last.NumberOfFailedSuboperations == 0


def test_a_source_that_goes_away_fails_what_remained(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", aborts_after=2) as site:
        *_, (last, _) = site.get()

    assert counts(last) == (0xA702, 2, COUNT - 2, 0, None)
    assert last.ErrorComment == "association with source PACS PACS lost"


def test_a_caller_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.1) as site:
        with site.associate() as association:
            next(association.send_c_get(study(), GET))
            association.abort()
        listener: Any = site.node.entity._listener

        wait_until(lambda: not listener._associations, "the association to end", 10)

        assert len(site.received) < COUNT


def test_a_dead_pacs_is_named_in_one_final_response(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", items=[], **peers(free_port())) as node:
        [(status, _)] = Site(node, Pacs([])).get()

    assert (status.Status, status.ErrorComment) == (0xA702, "source PACS PACS does not answer")


def test_a_pacs_without_c_get_is_named(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", services=ALL[:1]) as site:
        [(status, _)] = site.get()

    assert (status.Status, status.ErrorComment) == (0xA702, "source PACS PACS does not offer this service")


def test_a_caller_that_takes_no_images_is_told_so(site: Site) -> None:
    association = site.node.associate(GET)

    [(status, _)] = association.send_c_get(study(), GET)
    association.release()

    assert status.Status == 0xA702
    assert status.ErrorComment == "propose storage classes with the SCP role: none was"


def test_the_role_of_scp_is_given_only_beside_a_c_get_class(site: Site) -> None:
    both: Any = [build_role(SC, scu_role=True, scp_role=True)]

    association = AE("CLIENT").associate(
        site.node.settings.host, site.node.settings.port, [build_context(StudyRoot), build_context(SC)], "LOOKALIKE",
        ext_neg=both,
    )  # fmt: skip
    association.release()

    role = association.acceptor.role_selection[SC]
    assert (role.scu_role, role.scp_role) == (True, False)


def test_a_fault_of_ours_while_forwarding_ends_in_one_final_response(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(forward.ForwardedInstance, "_forward", fails)

    [(status, _)] = site.get()

    assert (status.Status, status.ErrorComment) == (0xA702, "association with source PACS PACS lost")


def test_a_caller_that_only_retrieves_is_admitted_though_the_spool_is_nearly_full(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def near_the_limit(*_: object) -> None:
        raise AssertionError("it stores nothing here")

    monkeypatch.setattr("node.ingest.pressure.Pressure.rejects", near_the_limit)

    *_, (status, _) = site.get()

    assert status.Status == 0
