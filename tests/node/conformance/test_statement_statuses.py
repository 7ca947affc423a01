"""The statuses that a running node answers with are those that the conformance statement lists for the service."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from node.dicom.private import Element
from node.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION
from tests.node.ingest.test_receiver import picture
from tests.support.dicom.answering import ITEMS, Node, answering_node
from tests.support.dicom.archive import identifier, uid
from tests.support.dicom.hostile import body
from tests.support.dicom.wire import C_STORE_RQ, COMMAND, LAST, SECONDARY_CAPTURE, Wire, command, p_data
from tests.support.documents import rows
from tests.support.peers.pacs import peers
from tests.support.running import free_port

HEADINGS = {
    VERIFICATION: "### 5.1 Verification",
    SecondaryCaptureImageStorage: "### 5.2 Storage",
    STUDY_ROOT_FIND: "### 5.3 Query by keys",
    STUDY_ROOT_MOVE: "**C-MOVE.**",
    STUDY_ROOT_GET: "**C-GET.**",
}
EXAMPLE = Element.EXAMPLE_SOP_INSTANCE_UID
IMAGE = picture(SOPInstanceUID="2.25.7")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    settings = peers(free_port()) | {"max_find_responses": 2}
    with answering_node(tmp_path_factory.mktemp("node"), items=ITEMS, **settings) as node:
        yield node


@pytest.fixture
def association(node: Node) -> Iterator[Association]:
    """An association for every service that the statement has a table of."""
    ae = AE("CLIENT")
    contexts = [build_context(sop_class, ExplicitVRLittleEndian) for sop_class in HEADINGS]
    association = ae.associate(node.settings.host, node.settings.port, contexts, node.settings.ae_title)
    assert association.is_established
    yield association
    association.release()


def listed(sop_class: UID) -> dict[str, str]:
    """Offending Element of each status that the statement lists for a service."""
    table = rows("conformance.md", "status", "meaning", "Offending Element", after=HEADINGS[sop_class])
    return {status: (offending[0] if offending else "") for status, _, *offending in table}


def last(responses: Any) -> Dataset:
    """The final status of a request."""
    *_, (status, _) = responses
    assert isinstance(status, Dataset)
    return status


def find(association: Association, **keys: Any) -> list[Dataset]:
    request = identifier(keys.pop("level", "IMAGE"), keys.pop("ours", None), keys)
    return [status for status, _ in association.send_c_find(request, STUDY_ROOT_FIND)]


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"PatientID": "A", "level": "STUDY"}, "0000"),
        ({"SOPInstanceUID": ""}, "A700"),
        ({"level": "NO LEVEL"}, "A900"),
        ({"ours": {EXAMPLE: "1.2.3"}}, "C101"),
        ({"ours": {EXAMPLE: uid("1.1.1"), Element.EXAMPLE_FRAME_NUMBER: "9"}}, "C103"),
        ({"ours": {EXAMPLE: uid("1.1.1"), Element.MODEL_IDENTIFIER: "another"}}, "C104"),
        ({"ours": {EXAMPLE: uid("1.1.1"), Element.INDEX_SNAPSHOT: "1-1"}}, "C107"),
    ],
)
def test_a_query_ends_in_a_listed_status_with_its_offending_element(
    keys: dict[str, Any], status: str, association: Association
) -> None:
    final = find(association, **keys)[-1]

    assert f"{final.Status:04X}" == status
    assert ("OffendingElement" in final) == bool(listed(STUDY_ROOT_FIND)[status])


def test_the_statuses_of_pending_responses_are_listed(association: Association) -> None:
    plain = find(association, level="STUDY", StudyInstanceUID="", PatientID="A")
    flagged = find(association, level="STUDY", PatientID="A", PatientComments="x")

    assert {f"{status.Status:04X}" for status in plain} == {"FF00", "0000"}
    assert {f"{status.Status:04X}" for status in flagged} == {"FF01", "0000"}
    assert {"FF00", "FF01", "0000"} <= set(listed(STUDY_ROOT_FIND))


@pytest.mark.parametrize(
    ("commanded", "octets", "status"),
    [("2.25.7", body(IMAGE), 0x0000), ("2.25.8", body(IMAGE), 0xA900), ("2.25.7", b"no data set" * 9, 0xC000)],
    ids=["good", "other UID", "garbage"],
)
def test_a_store_is_answered_by_a_listed_status(commanded: str, octets: bytes, status: int, node: Node) -> None:
    with Wire.associate(node.settings.host, node.settings.port) as wire:
        wire.send(p_data(1, COMMAND | LAST, command(C_STORE_RQ, SECONDARY_CAPTURE, commanded)), p_data(1, LAST, octets))
        answer = wire.status()

    assert answer == status
    assert f"{answer:04X}" in listed(SecondaryCaptureImageStorage)


@pytest.mark.parametrize(
    ("destination", "status"), [("NOBODY", "A801"), ("VIEW", "A702")], ids=["unknown destination", "dead PACS"]
)
def test_a_move_that_cannot_be_ends_in_a_listed_status(destination: str, status: str, association: Association) -> None:
    request = identifier("STUDY", StudyInstanceUID="1.2.3")

    final = last(association.send_c_move(request, destination, STUDY_ROOT_MOVE))

    assert f"{final.Status:04X}" == status
    assert status in listed(STUDY_ROOT_MOVE)


def test_a_get_without_a_class_to_store_ends_in_a_listed_status(association: Association) -> None:
    final = last(association.send_c_get(identifier("STUDY", StudyInstanceUID="1.2.3"), STUDY_ROOT_GET))

    assert f"{final.Status:04X}" == "A702"
    assert "A702" in listed(STUDY_ROOT_GET)


def test_an_operation_that_no_service_has_gets_a_status_that_every_table_lists(association: Association) -> None:
    echo = association.send_c_echo()
    other, _ = association.send_n_get([Tag(0x00080018)], VERIFICATION, "1.2.3")

    assert (f"{echo.Status:04X}", f"{other.Status:04X}") == ("0000", "0211")
    assert all({"0211", "0122"} <= set(listed(sop_class)) for sop_class in HEADINGS)
