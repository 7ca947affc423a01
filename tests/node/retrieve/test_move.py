"""C-MOVE through the node: the source PACS sends; its counts and refusals, and the caller's C-CANCEL, are relayed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from node.retrieve import source
from tests.support.dicom.answering import Node, StudyRoot, answering_node
from tests.support.peers.pacs import (
    ALL,
    MOVE,
    PATIENT_MOVE,
    STUDY,
    Pacs,
    counts,
    destination,
    numbered,
    peers,
    running_pacs,
    study,
)
from tests.support.running import free_port, wait_until

COUNT = 5
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass
class Site:
    """A node, the PACS behind it, and what the destination VIEW received."""

    node: Node
    pacs: Pacs
    received: list[str] = field(default_factory=list)

    def move(self, to: str = "VIEW", model: UID = MOVE, cancel_at: int | None = None) -> list[Dataset]:
        """Statuses of a C-MOVE of the study."""
        association = self.node.associate(model)
        statuses = []
        for number, (status, _) in enumerate(association.send_c_move(study(), to, model, msg_id=7)):
            statuses.append(status)
            if number == cancel_at:
                association.send_c_cancel(7, query_model=model)
        assert association.is_established
        association.release()
        return statuses


@contextmanager
def running_site(home: Path, chosen: Mapping[str, Any] = NOTHING, **behaviour: Any) -> Iterator[Site]:
    with ExitStack() as stack:
        received: list[str] = []
        view = stack.enter_context(destination(received))
        pacs = Pacs([numbered(n) for n in range(COUNT)], destinations={"VIEW": view}, **behaviour)
        stack.enter_context(running_pacs(pacs))
        node = stack.enter_context(answering_node(home, items=[], **peers(pacs.port, view), **chosen))
        yield Site(node, pacs, received)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site") / "home") as site:
        yield site


@pytest.mark.parametrize("model", [MOVE, PATIENT_MOVE])
def test_the_source_sends_every_image_to_the_caller_s_destination(site: Site, model: UID) -> None:
    site.received.clear()
    site.pacs.seen.clear()

    statuses = site.move(model=model)

    assert [counts(status) for status in statuses] == [
        *((0xFF00, number, 0, 0, COUNT - number) for number in range(1, COUNT + 1)),
        (0x0000, COUNT, 0, 0, None),
    ]
    assert sorted(site.received) == [f"2.25.9.1.{number}" for number in range(COUNT)]
    assert [(seen, identifier.StudyInstanceUID) for seen, identifier in site.pacs.seen] == [(model, STUDY)]


@pytest.mark.parametrize("to", ["NOBODY", "SECRET", "PACS"])
def test_images_go_only_to_a_destination_that_the_settings_allow(site: Site, to: str) -> None:
    site.pacs.seen.clear()

    [status] = site.move(to)

    assert status.Status == 0xA801
    assert status.ErrorComment == f"{to} is no move destination in our settings"
    assert site.pacs.seen == []


def test_a_destination_that_the_source_does_not_know_is_refused_as_the_source_refuses_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.pacs, "destinations", {})

    [status] = site.move()

    assert status.Status == 0xA801


def test_failed_sub_operations_are_relayed_with_their_list(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = numbered(99)
    odd.SOPClassUID = odd.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    monkeypatch.setattr(site.pacs, "datasets", [numbered(1), odd])
    association = site.node.associate(MOVE)

    *_, (status, identifier) = association.send_c_move(study(), "VIEW", MOVE)
    association.release()

    assert counts(status) == (0xB000, 1, 1, 0, None)
    assert identifier is not None
    assert identifier.FailedSOPInstanceUIDList == "2.25.9.1.99"


def test_a_cancel_half_way_reaches_the_source(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.2) as site:
        *_, last = site.move(cancel_at=1)

        assert last.Status == 0xFE00
        assert last.NumberOfCompletedSuboperations + last.NumberOfRemainingSuboperations == COUNT
        assert 2 <= len(site.received) == last.NumberOfCompletedSuboperations < COUNT


def test_a_source_that_ignores_a_cancel_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CANCEL_GRACE_S", 0.1)
    with running_site(tmp_path / "home", pause_s=0.3, ignores_cancel=True) as site:
        *_, last = site.move(cancel_at=0)

    assert last.Status == 0xFE00
    assert last.NumberOfRemainingSuboperations > 0


def test_a_source_that_goes_away_fails_what_remained(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", aborts_after=2) as site:
        *_, last = site.move()

    assert counts(last) == (0xA702, 2, COUNT - 2, 0, None)
    assert last.ErrorComment == "association with source PACS PACS lost"


def test_a_source_that_falls_silent_fails_what_remained(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=2, chosen={"retrieve_timeout_s": 0.5}) as site:
        [status] = site.move()

    assert (status.Status, status.ErrorComment) == (0xA702, "association with source PACS PACS lost")


def test_a_caller_that_waits_longer_than_the_network_timeout_keeps_its_association(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.3, chosen={"network_timeout_s": 1}) as site:
        *_, last = site.move()

    assert counts(last) == (0x0000, COUNT, 0, 0, None)


def test_a_caller_that_goes_away_ends_the_retrieval(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", pause_s=0.2) as site:
        association = site.node.associate(MOVE)
        next(association.send_c_move(study(), "VIEW", MOVE))
        association.abort()
        listener: Any = site.node.entity._listener

        wait_until(lambda: not listener._associations, "the association to end", 10)

        assert len(site.received) < COUNT


def test_a_dead_pacs_is_named_in_one_final_response(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", items=[], **peers(free_port())) as node:
        [status] = Site(node, Pacs([])).move()

    assert (status.Status, status.ErrorComment) == (0xA702, "source PACS PACS does not answer")


def test_a_pacs_without_c_move_is_named(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", services=ALL[:1]) as site:
        [status] = site.move()

    assert (status.Status, status.ErrorComment) == (0xA702, "source PACS PACS does not offer this service")


def test_c_move_is_offered_only_where_a_source_is_set(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", items=[]) as node:
        association = node.associate(StudyRoot)
        refused = node.associate(MOVE)
        rejected = [context.result for context in refused.rejected_contexts]
        for each in (association, refused):
            each.release()

    assert rejected == [3]
