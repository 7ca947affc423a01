"""Repository Query: anyone can page through the whole index, at every level, and is told where a page was cut."""

import struct
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import encode

from node.dicom.hierarchy import UNIQUE, tag_of
from node.dicom.private import Element
from node.dicom.sop_classes import PATIENT_ROOT_FIND, REPOSITORY_QUERY, STUDY_ROOT_FIND
from node.errors import Refusal, Status
from node.query import paging
from node.query.identifier import read_query
from node.query.paging import RecordPage, entities_from, record_key
from node.query.rules import QueryRules
from storage.database.database import Database
from storage.record import LEVELS, Level
from tests.support.dicom.answering import SYNTAXES, Node, answering_node
from tests.support.dicom.archive import identifier, instance, uid
from tests.support.dicom.wire import (
    C_FIND_RQ,
    COMMAND,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    VERIFICATION,
    Wire,
    associate_rq,
    command,
    p_data,
)

ITEMS = [
    instance(f"{study}.{series}.{image}", study, attributes={"PatientID": f"P{study % 3}", "Modality": modality})
    for image in (1, 2)
    for series, modality in ((2, "CT"), (1, "MR"))
    for study in (4, 1, 5, 3, 2)
]
PLACES = {
    Level.STUDY: ["4", "1", "5", "3", "2"],
    Level.SERIES: [f"{study}.{series}" for series in (2, 1) for study in (4, 1, 5, 3, 2)],
    Level.IMAGE: [item.record.sop_instance_uid.removeprefix("2.25.") for item in ITEMS],
}
RULES = QueryRules(has_record_keys=True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), ITEMS, max_find_responses=7) as node:
        yield node


def page(
    node: Node, level: Level, prior: bytes = b"", most: int | None = None, syntax: UID = SYNTAXES[0], **keys: Any
) -> tuple[int, list[str], bytes]:
    """Final status, places of the records, and the last record key."""
    asked: dict[str, Any] = {UNIQUE[level]: "", "RecordKey": b"", **keys}
    asked |= {"PriorRecordKey": prior} if prior else {}
    asked |= {"MaximumNumberOfRecords": most} if most else {}
    statuses, found = node.ask(identifier(level, keys=asked), REPOSITORY_QUERY, syntax)
    places = [str(one[UNIQUE[level]].value).removeprefix("2.25.") for one in found]
    assert {status.Status for status in statuses[:-1]} <= {Status.PENDING}
    return statuses[-1].Status, places, found[-1].RecordKey if found else b""


def pages(node: Node, level: Level, most: int | None = None, **keys: Any) -> Iterator[list[str]]:
    """All pages, the last of which ends in success."""
    prior, status = b"", int(Status.RESPONSE_LIMIT_REACHED)
    while status == Status.RESPONSE_LIMIT_REACHED:
        status, places, prior = page(node, level, prior, most, **keys)
        yield places
    assert status == Status.SUCCESS


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("level", PLACES)
def test_page_by_page_the_whole_index_is_answered_once_and_in_order(node: Node, level: Level, syntax: UID) -> None:
    three = list(pages(node, level, 3, syntax=syntax))

    assert [len(one) for one in three[:-1]] == [3] * (len(three) - 1)
    assert [place for one in three for place in one] == PLACES[level]


def test_without_a_maximum_a_page_ends_at_the_limit_of_the_node(node: Node) -> None:
    assert [len(one) for one in pages(node, Level.IMAGE)] == [7, 7, 6]
    assert [len(one) for one in pages(node, Level.IMAGE, 1000)] == [7, 7, 6]
    assert [len(one) for one in pages(node, Level.STUDY, 5)] == [5], "B001 only if more would follow"


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (Level.STUDY, {"PatientID": "P1"}),
        (Level.SERIES, {"PatientID": "P1"}),
        (Level.IMAGE, {"PatientID": "P1", "Modality": "CT"}),
        (Level.IMAGE, {"ModalitiesInStudy": "MR", "StudyInstanceUID": [uid("3"), uid("1"), "1.2"]}),
        (Level.IMAGE, {"Modality": "M*"}),
        (Level.SERIES, {"PatientName": "Nobody"}),
    ],
)
@pytest.mark.parametrize("most_listed", [0, 2, 1 << 16])
def test_pages_of_a_query_with_keys_are_the_same_whichever_way_they_are_found(
    node: Node, level: Level, keys: Mapping[str, Any], most_listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_LISTED", most_listed)
    with monkeypatch.context() as patch:
        patch.setattr(node.finder, "settings", node.settings.model_copy(update={"max_find_responses": 99}))
        _, expected = node.ask(identifier(level, keys={UNIQUE[level]: "", **keys}), STUDY_ROOT_FIND)
    places = {str(one[UNIQUE[level]].value).removeprefix("2.25.") for one in expected}

    found = [place for one in pages(node, level, 2, **keys) for place in one]

    assert found == [place for place in PLACES[level] if place in places]


def test_an_instance_that_comes_meanwhile_moves_no_other_to_another_page(node: Node) -> None:
    _, first, prior = page(node, Level.IMAGE, most=7)
    node.finder.database.append([instance("9.1.1", 9)])
    try:
        rest = []
        status = int(Status.RESPONSE_LIMIT_REACHED)
        while status == Status.RESPONSE_LIMIT_REACHED:
            status, places, prior = page(node, Level.IMAGE, prior)
            rest += places
    finally:
        node.finder.database.remove([uid("9.1.1")])

    assert first + rest == [*PLACES[Level.IMAGE], "9.1.1"]
    assert page(node, Level.IMAGE, prior)[:2] == (Status.SUCCESS, []), "the key of what was removed still has its place"


def test_nothing_follows_the_last_response_of_a_page(node: Node) -> None:
    contexts = [(REPOSITORY_QUERY, (EXPLICIT,)), (VERIFICATION, (IMPLICIT,))]
    request = associate_rq(contexts, called=node.settings.ae_title.encode())
    body = encode(identifier("STUDY", MaximumNumberOfRecords=2, StudyInstanceUID=""), False, is_little_endian=True)
    assert body is not None
    with Wire.associate(node.settings.host, node.settings.port, request) as wire:
        wire.send(p_data(1, COMMAND | LAST, command(C_FIND_RQ, REPOSITORY_QUERY)), p_data(1, LAST, body))
        *pending, final = responses(wire)
        wire.send(ECHO)

        assert wire.status() == Status.SUCCESS, "the next message is the response to C-ECHO"
    assert pending == [Status.PENDING] * 2
    assert final == Status.RESPONSE_LIMIT_REACHED


def responses(wire: Wire) -> list[int]:
    """Statuses up to the first that is not pending."""
    statuses = [0]
    while not statuses[1:] or statuses[-1] == Status.PENDING:
        received = wire.receive()
        assert received is not None
        if received[1][5] & COMMAND:
            at = received[1].index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
            statuses.append(struct.unpack_from("<H", received[1], at)[0])
    return statuses[1:]


@pytest.mark.parametrize("model", [STUDY_ROOT_FIND, PATIENT_ROOT_FIND])
def test_other_models_have_no_record_keys_and_never_answer_b001(node: Node, model: UID) -> None:
    keys = {"RecordKey": b"", "MaximumNumberOfRecords": 2, "PatientID": "P1", "StudyInstanceUID": ""}

    statuses, found = node.ask(identifier("STUDY", keys=keys), model)

    assert {status.Status for status in statuses[:-1]} == {Status.PENDING_WITH_UNSUPPORTED_KEYS}
    assert statuses[-1].Status == Status.SUCCESS
    assert not any("RecordKey" in response for response in found)


@pytest.mark.parametrize("damage", ["cut", "other database", "other level", "beyond the last", "text"])
def test_a_record_key_of_nothing_here_is_told(node: Node, damage: str) -> None:
    _, _, key = page(node, Level.SERIES, most=1)
    unknown = {
        "cut": key[:-2],
        "other database": bytes([key[0] ^ 1]) + key[1:],
        "other level": page(node, Level.STUDY, most=1)[2],
        "beyond the last": key[:-4] + b"\xff\xff\xff\xff",
        "text": b"the second",
    }[damage]

    [status], _ = node.ask(identifier("SERIES", PriorRecordKey=unknown), REPOSITORY_QUERY)

    assert (status.Status, status.OffendingElement) == (Status.INVALID_RECORD_KEY, tag_of("PriorRecordKey"))


@pytest.mark.parametrize(
    ("level", "keys", "ours", "offending"),
    [
        ("PATIENT", {}, {}, "QueryRetrieveLevel"),
        ("STUDY", {"MaximumNumberOfRecords": 0}, {}, "MaximumNumberOfRecords"),
        ("STUDY", {"MaximumNumberOfRecords": [1, 2]}, {}, "MaximumNumberOfRecords"),
        ("STUDY", {}, {Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1")}, None),
    ],
)
def test_what_makes_no_page_is_refused_and_named(
    level: str, keys: dict[str, Any], ours: dict[Element, str], offending: str | None
) -> None:
    with pytest.raises(Refusal) as refused:
        read_query(identifier(level, ours, keys), RULES)

    assert refused.value.status == Status.DATA_SET_MISMATCH
    assert refused.value.offending == (tag_of(offending) if offending else 0x00751001)


def test_a_record_key_to_be_matched_is_returned_and_flagged() -> None:
    query = read_query(identifier("STUDY", RecordKey=b"0123456789"), RULES)

    assert query.unsupported == (tag_of("RecordKey"),)
    assert query.page == RecordPage(returns_keys=True)


@settings(max_examples=20, deadline=None)
@given(most=st.integers(1, 8), level=st.sampled_from(list(PLACES)))
def test_keys_are_ordered_as_the_records_are(node: Node, most: int, level: Level) -> None:
    found: list[Dataset] = []
    status, prior = Status.RESPONSE_LIMIT_REACHED, b""
    while status == Status.RESPONSE_LIMIT_REACHED:
        asked = {"RecordKey": b"", "MaximumNumberOfRecords": most} | ({"PriorRecordKey": prior} if prior else {})
        statuses, responses_ = node.ask(identifier(level, keys=asked), REPOSITORY_QUERY)
        found += responses_
        status, prior = statuses[-1].Status, responses_[-1].RecordKey

    keys = [response.RecordKey for response in found]
    assert keys == sorted(set(keys))
    assert len(keys) == len(PLACES[level])


def test_a_page_takes_no_more_memory_where_the_index_is_larger(tmp_path_factory: pytest.TempPathFactory) -> None:
    peaks = []
    for count in (300, 3000):
        with Database.create_or_open(tmp_path_factory.mktemp("database"), 64, "model", 1 << 26) as database:
            database.append([instance(f"{number}.1.1", 1) for number in range(1, count + 1)])
            with database.snapshot() as snapshot:
                tracemalloc.start()
                for number, entity in enumerate(entities_from(snapshot, LEVELS[-1], {}, 0, lambda: None)):
                    assert len(record_key(snapshot, entity)) == paging.KEY.size
                    if number == 200:
                        break
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()

    assert peaks[1] < 1.5 * peaks[0]
