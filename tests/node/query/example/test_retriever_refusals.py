"""Why a question has no answer: the status, and the key at fault."""

import pytest
from pydicom.tag import Tag

from node.dicom.private import GROUP
from node.errors import Status
from node.query.question import Question
from node.query.retriever import Retriever
from storage.database.database import Snapshot
from storage.record import Level
from storage.search.index import Filter
from tests.support.dicom.archive import instance, uid
from tests.support.dicom.questions import IMAGE, MODEL, SERIES, STUDY, about, refused

ITEMS = [
    instance("1.1.1", 0, digest=7, PatientID="A"),
    instance("2.1.1", 3, PatientID="B"),
    instance("6.1.1", 30, 40, 50, PatientID="D"),
    instance("7.1.1", PatientID="E"),
]


@pytest.mark.parametrize("kind", [IMAGE, SERIES, STUDY])
def test_an_unknown_example_is_named_by_the_key_that_named_it(
    retriever: Retriever, snapshot: Snapshot, kind: Level
) -> None:
    refusal = refused(retriever, snapshot, about("9.9.9", level=kind, block=0x42))

    element = {IMAGE: 0x01, SERIES: 0x02, STUDY: 0x03}[kind]
    assert (refusal.status, refusal.offending) == (Status.EXAMPLE_UNKNOWN, Tag(GROUP, 0x4200 | element))


def test_one_unknown_example_among_several_is_enough_to_refuse(retriever: Retriever, snapshot: Snapshot) -> None:
    assert refused(retriever, snapshot, about("1.1.1", "9.9.9")).status == Status.EXAMPLE_UNKNOWN


@pytest.mark.parametrize("text", ["no UID", "2.25.*", "2.25.1.1.1/..", "ü", "1" * 600])
def test_a_text_that_is_no_uid_is_unknown(retriever: Retriever, snapshot: Snapshot, text: str) -> None:
    assert refused(retriever, snapshot, Question((text,))).status == Status.EXAMPLE_UNKNOWN


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("no-pixel-data", Status.EXAMPLE_WITHOUT_PIXELS),
        ("undecodable", Status.EXAMPLE_NOT_HASHABLE),
        ("worker-died", Status.EXAMPLE_NOT_HASHABLE),
    ],
)
def test_an_example_that_was_set_aside_is_refused_with_the_reason(
    retriever: Retriever, snapshot: Snapshot, reason: str, status: Status
) -> None:
    entry = retriever.spool.put([b"x"], uid("9.9.9"))
    retriever.spool.set_aside(entry, reason, "", {"SOPInstanceUID": uid("9.9.9")}, keep=False)

    assert refused(retriever, snapshot, about("9.9.9")).status == status


def test_an_example_that_waits_is_to_be_asked_about_again_even_if_it_was_set_aside_once(
    retriever: Retriever, snapshot: Snapshot
) -> None:
    entry = retriever.spool.put([b"x"], uid("9.9.9"))
    retriever.spool.set_aside(entry, "undecodable", "", {"SOPInstanceUID": uid("9.9.9")}, keep=False)
    retriever.spool.put([b"x"], uid("9.9.9"))

    assert refused(retriever, snapshot, about("9.9.9")).status == Status.EXAMPLE_NOT_READY


@pytest.mark.parametrize(("place", "kind", "element"), [("7.1.1", IMAGE, 0x01), ("7", STUDY, 0x03)])
def test_an_example_that_is_kept_without_any_frame_has_no_pixels(
    retriever: Retriever, snapshot: Snapshot, place: str, kind: Level, element: int
) -> None:
    refusal = refused(retriever, snapshot, about(place, level=kind, exclude="SELF DUPLICATE"))

    assert (refusal.status, refusal.offending) == (Status.EXAMPLE_WITHOUT_PIXELS, Tag(GROUP, 0x1000 | element))


def test_a_frame_that_is_not_indexed_is_refused_with_those_that_are(retriever: Retriever, snapshot: Snapshot) -> None:
    refusal = refused(retriever, snapshot, about("6.1.1", frames=(1, 4)))

    assert (refusal.status, refusal.offending) == (Status.EXAMPLE_NOT_HASHABLE, Tag(GROUP, 0x1004))
    assert refusal.comment == "frames indexed: 1,2,3"


def test_another_model_or_state_is_refused_and_the_same_is_not(retriever: Retriever, snapshot: Snapshot) -> None:
    other_model = refused(retriever, snapshot, about("1.1.1", model="older"))
    other_state = refused(retriever, snapshot, about("1.1.1", snapshot="yesterday"))
    answer = retriever.similar(snapshot, about("1.1.1", model=MODEL, snapshot=snapshot.identifier), STUDY, Filter())

    assert (other_model.status, other_model.offending) == (Status.MODEL_UNKNOWN, Tag(GROUP, 0x1008))
    assert (other_state.status, other_state.offending) == (Status.SNAPSHOT_GONE, Tag(GROUP, 0x100B))
    assert len(answer.matches) == 2
    assert len(snapshot.identifier) <= 64, "it travels as VR LO"
