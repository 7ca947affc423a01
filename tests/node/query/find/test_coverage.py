"""Coverage in answers by example: whether everything that should be indexed is."""

from collections.abc import Iterator

import pytest

from node.dicom.private import Element
from node.errors import Status
from storage.corrections.announcing import announce
from tests.support.dicom.answering import EXAMPLE, Node, answering_node, ours
from tests.support.dicom.archive import identifier, instance, uid


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def test_coverage_says_that_instances_wait_to_be_indexed(node: Node) -> None:
    entry = node.finder.retriever.spool.put([b"x"], uid("9.9.9"))
    try:
        [response, *_] = node.found(identifier("STUDY", {**EXAMPLE, Element.COVERAGE: ""}))
        [refused], _ = node.ask(identifier("STUDY", {Element.EXAMPLE_SOP_INSTANCE_UID: uid("9.9.9")}))
    finally:
        node.finder.retriever.spool.remove([entry])

    assert ours(response) == {**EXAMPLE, Element.COVERAGE: "BACKFILLING"}
    assert refused.Status == Status.EXAMPLE_NOT_READY


def test_coverage_says_that_announced_instances_are_missing(node: Node) -> None:
    database, request = node.finder.database, identifier("STUDY", {**EXAMPLE, Element.COVERAGE: ""})
    announce(database, uid("8"), [uid("8.1.1")], [], 1)
    [missing, *_] = node.found(request)

    database.append([instance("8.1.1", 60)])

    [whole, *_] = node.found(request)
    assert [ours(found)[Element.COVERAGE] for found in (missing, whole)] == ["BACKFILLING", "COMPLETE"]
    database.remove([uid("8.1.1")])
