"""A query by an example that the node lacks has it fetched from the source PACS, and is answered in time or refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydicom import dcmread

from node.dicom.private import Element
from node.errors import Status
from storage.spool.queue import Spool
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.archive import identifier, instance
from tests.support.peers.pacs import ALL, FIND, GET, MOVE, Pacs, numbered, peers, running_pacs
from tests.support.running import free_port, wait_until

EXAMPLE = "2.25.9.1.2"
QUESTION = identifier("STUDY", {Element.EXAMPLE_SOP_INSTANCE_UID: EXAMPLE}, StudyInstanceUID="")


@contextmanager
def indexing(node: Node) -> Iterator[None]:
    """An indexer that turns every instance in the spool into a row."""
    spool, done = node.finder.retriever.spool, Event()

    def index() -> None:
        while not done.wait(0.01):
            for entry in list(spool):
                uid = dcmread(entry.path).SOPInstanceUID
                node.finder.database.append([instance(uid.removeprefix("2.25."), 1)])
                spool.remove([entry])

    thread = Thread(target=index)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def fetching(home: Path, pacs: Pacs, **chosen: Any) -> Iterator[Node]:
    """A node that holds one image and fetches its examples."""
    chosen = {"port": pacs.destinations.get("LOOKALIKE", free_port()), **peers(pacs.port), **chosen}
    with answering_node(home, [instance("1.1.1", 0)], fetch_missing_example=True, **chosen) as node:
        yield node


@pytest.mark.parametrize(("services", "by"), [(ALL, GET), ((FIND, MOVE), MOVE)])
def test_an_unknown_example_is_fetched_by_c_get_or_else_by_c_move(tmp_path: Path, services: Any, by: Any) -> None:
    pacs = Pacs([numbered(n) for n in range(4)], services=services, destinations={"LOOKALIKE": free_port()})
    with running_pacs(pacs), fetching(tmp_path / "home", pacs) as node, indexing(node):
        responses = node.found(QUESTION)

    assert [response.StudyInstanceUID for response in responses] == ["2.25.1"]
    [(_, query), (model, request)] = pacs.seen
    assert (query.QueryRetrieveLevel, query.SOPInstanceUID) == ("IMAGE", EXAMPLE)
    assert (model, request.QueryRetrieveLevel) == (by, "IMAGE")
    assert [request[key].value for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")] == [
        "2.25.9", "2.25.9.1", EXAMPLE,
    ]  # fmt: skip


def test_an_example_that_is_not_indexed_in_time_is_not_ready(tmp_path: Path) -> None:
    pacs = Pacs([numbered(2)])
    with running_pacs(pacs), fetching(tmp_path / "home", pacs, fetch_limit_s=1.5) as node:
        [status], _ = node.ask(QUESTION)
        spool: Spool = node.finder.retriever.spool

        assert status.Status == Status.EXAMPLE_NOT_READY
        assert spool.is_waiting(EXAMPLE)


def test_an_example_that_waits_here_is_not_fetched(tmp_path: Path) -> None:
    pacs = Pacs([numbered(2)])
    with running_pacs(pacs), fetching(tmp_path / "home", pacs) as node:
        node.finder.retriever.spool.put([b"x"], EXAMPLE)
        [status], _ = node.ask(QUESTION)

    assert (status.Status, pacs.seen) == (Status.EXAMPLE_NOT_READY, [])


def test_an_example_that_nobody_has_is_unknown(tmp_path: Path) -> None:
    pacs = Pacs([])
    with running_pacs(pacs), fetching(tmp_path / "home", pacs) as node:
        [status], _ = node.ask(QUESTION)

    assert status.Status == Status.EXAMPLE_UNKNOWN
    assert [model for model, _ in pacs.seen] == [FIND]


@pytest.mark.parametrize("behaviour", [{"pause_s": 3}, {"aborts_after": 0}, {"services": (FIND,)}])
def test_a_pacs_that_does_not_deliver_in_time_leaves_the_example_unknown(
    tmp_path: Path, behaviour: dict[str, Any]
) -> None:
    pacs = Pacs([numbered(2)], **behaviour)
    with running_pacs(pacs), fetching(tmp_path / "home", pacs, fetch_limit_s=0.7) as node:
        [status], _ = node.ask(QUESTION)

    assert status.Status == Status.EXAMPLE_UNKNOWN


def test_a_dead_pacs_leaves_the_example_unknown(tmp_path: Path) -> None:
    with fetching(tmp_path / "home", Pacs([])) as node:
        [status], _ = node.ask(QUESTION)

    assert status.Status == Status.EXAMPLE_UNKNOWN


def test_a_caller_that_cancels_waits_no_longer(tmp_path: Path) -> None:
    pacs = Pacs([numbered(2)])
    with running_pacs(pacs), fetching(tmp_path / "home", pacs) as node:
        association = node.associate(FIND)
        responses = association.send_c_find(QUESTION, FIND, msg_id=7)
        wait_until(lambda: node.finder.retriever.spool.is_waiting(EXAMPLE), "the example to arrive", 10)
        association.send_c_cancel(7, query_model=FIND)
        [(status, _)] = responses
        association.release()

    assert status.Status == Status.CANCEL
