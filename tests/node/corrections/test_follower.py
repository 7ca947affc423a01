"""Rejection notes on the wire: once they are acknowledged, no answer names what they reject."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from node.corrections.order_book import OrderBook, OrderKind
from node.corrections.rejection_note import TITLES
from node.dicom.private import Element
from node.errors import Status
from storage.corrections.rejecting import restore
from storage.database.rejections import Title
from storage.search.warm_up import warm_up
from tests.support.dicom.answering import ITEMS, Node, answering_node, ours
from tests.support.dicom.archive import identifier, uid
from tests.support.dicom.correcting import correcting, correcting_node, send
from tests.support.dicom.key_objects import OF_INTEREST, item, key_objects
from tests.support.running import wait_until
from tests.support.web.web_archive import BASE, web_archive

IMAGES = {
    place: item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        SOPInstanceUID=uid(place),
        SeriesInstanceUID=uid(place.rsplit(".", 1)[0]),
        StudyInstanceUID=uid(place.split(".")[0]),
    )
    for place in ("1.1.1", "1.1.2", "2.1.1", "3.1.1", "3.2.1")
}
NEAREST = {Element.EXAMPLE_SOP_INSTANCE_UID: uid("2.1.1"), Element.SIMILARITY_RANK: ""}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    warm_up(64)  # no query waits for a compiler
    with correcting_node(tmp_path_factory.mktemp("node") / "home", items=ITEMS) as node:
        yield node


@pytest.fixture(autouse=True)
def _everything_is_back(node: Node) -> Iterator[None]:
    yield
    for image in IMAGES.values():
        restore(node.finder.database, image.SOPInstanceUID)
    node.finder.database.append(ITEMS)
    assert node.finder.database.verify() == []


def rejecting(title: str, *places: str) -> FileDataset:
    return key_objects(title, [IMAGES[place] for place in places])


def images(node: Node) -> set[str]:
    request = identifier("IMAGE", keys={"PatientID": "", "SOPInstanceUID": ""})
    return {str(found.SOPInstanceUID).removeprefix("2.25.") for found in node.found(request)}


@pytest.mark.parametrize("title", sorted(TITLES))
def test_an_acknowledged_note_holds_in_the_next_answer_of_every_kind(node: Node, title: Title) -> None:
    assert send(node, rejecting(title, "1.1.1", "3.1.1", "3.2.1")).Status == Status.SUCCESS

    assert images(node) == {"1.1.2", "2.1.1"}
    studies = node.found(identifier("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=""))
    assert {(s.StudyInstanceUID, s.NumberOfStudyRelatedInstances) for s in studies} == {(uid("1"), 1), (uid("2"), 1)}
    alike = node.found(identifier("IMAGE", NEAREST, SOPInstanceUID=""))
    assert [found.SOPInstanceUID for found in alike] == [uid("1.1.2")]
    request = identifier("STUDY", {Element.EXAMPLE_SOP_INSTANCE_UID: uid("3.1.1")}, StudyInstanceUID="")
    assert [status.Status for status in node.ask(request)[0]] == [Status.EXAMPLE_UNKNOWN]
    assert ours(alike[0])[Element.SIMILARITY_RANK] == "1"


def test_a_note_sent_twice_is_acknowledged_twice(node: Node) -> None:
    note = rejecting(Title.QUALITY, "1.1.1")

    assert [send(node, note).Status for _ in range(2)] == [Status.SUCCESS] * 2

    assert "1.1.1" not in images(node)


def test_other_key_objects_reject_nothing_and_wait_to_be_set_aside(node: Node) -> None:
    spool = node.finder.retriever.spool

    for number, title in enumerate((OF_INTEREST, "113038 ")):  # spaces say nothing: the second is a rejection
        assert send(node, rejecting(title, "1.1.1")).Status == Status.SUCCESS
        assert ("1.1.1" in images(node)) == (number == 0)
    other = rejecting(OF_INTEREST, "1.1.1")
    other.ConceptNameCodeSequence[0].CodeValue, other.ConceptNameCodeSequence[0].CodingSchemeDesignator = (
        "113001",
        "99X",
    )
    assert send(node, other).Status == Status.SUCCESS

    assert len(spool) == 2
    spool.remove(list(spool))


def without_evidence(note: FileDataset) -> None:
    note.CurrentRequestedProcedureEvidenceSequence = Sequence()


def with_a_name_for_a_uid(note: FileDataset) -> None:
    series = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].add_new("ReferencedSOPInstanceUID", "LO", "Doe^Jane")


def without_a_study(note: FileDataset) -> None:
    del note.CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (without_evidence, Status.DATA_SET_MISMATCH),
        (with_a_name_for_a_uid, Status.CANNOT_UNDERSTAND),
        (without_a_study, Status.CANNOT_UNDERSTAND),
    ],
)
def test_a_note_that_cannot_be_followed_is_refused_and_hides_nothing(node: Node, damage: object, status: int) -> None:
    note = rejecting(Title.QUALITY, "1.1.1")
    damage(note)  # type: ignore[operator]

    answer = send(node, note)

    assert answer.Status == status
    assert answer.ErrorComment
    assert "Doe" not in answer.ErrorComment
    assert images(node) == set(IMAGES)
    assert len(node.finder.retriever.spool) == 0


def test_an_order_of_no_known_kind_is_kept_apart_and_the_next_is_carried_out(node: Node) -> None:
    orders = OrderBook(node.settings.corrections_path)
    strange = orders.put(OrderKind.RESTORE)  # of nothing

    assert send(node, rejecting(Title.QUALITY, "1.1.1")).Status == Status.SUCCESS

    answer = orders.take_answer(strange)
    assert answer == {"error": "KeyError"}
    assert (node.settings.corrections_path / "failed" / strange).is_file()


def test_only_the_callers_of_the_settings_may_correct(tmp_path: Path) -> None:
    with correcting_node(tmp_path / "home", items=ITEMS, corrections_from=("PACS",)) as node:
        refused, followed = (send(node, rejecting(Title.QUALITY, "1.1.1"), title) for title in ("MODALITY", "PACS"))
        others = send(node, rejecting(OF_INTEREST, "1.1.1"), "MODALITY")

        assert (refused.Status, followed.Status) == (Status.NOT_AUTHORIZED, Status.SUCCESS)
        assert others.Status == Status.SUCCESS
        assert "1.1.1" not in images(node)


def test_a_note_is_not_acknowledged_while_nobody_writes_and_holds_as_soon_as_somebody_does(tmp_path: Path) -> None:
    with answering_node(tmp_path / "home", items=ITEMS, correction_limit_s=0.2) as node:
        from node.corrections.follower import CorrectionFollower

        orders = OrderBook(node.settings.corrections_path)
        node.receiver.follow = CorrectionFollower(node.settings, orders).follow_key_objects
        answer: Dataset = send(node, rejecting(Title.QUALITY, "1.1.1"))
        before = images(node)
        with correcting(node):
            wait_until(lambda: not orders.waiting(), "the order to be carried out", 10)

        assert answer.Status == Status.OUT_OF_RESOURCES
        assert (before, images(node)) == (set(IMAGES), set(IMAGES) - {"1.1.1"})


def test_a_note_by_stow_is_followed_as_by_c_store(tmp_path: Path) -> None:
    note, octets = rejecting(Title.QUALITY, "1.1.1"), BytesIO()
    note.save_as(octets, enforce_file_format=True, implicit_vr=False, little_endian=True)
    content = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + octets.getvalue() + b"\r\n--part--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=part'

    with web_archive(tmp_path / "home", items=ITEMS) as archive, correcting(cast("Node", archive.resources)):
        answer = archive.client.post(f"{BASE}/studies", content=content, headers={"Content-Type": kind})
        found = archive.get(f"/instances?SOPInstanceUID={uid('1.1.1')}")

    assert (answer.status_code, found.status_code) == (200, 204)
