"""What is negotiated or set changes how keys match: dates with times, several values, empty values, the hierarchy."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from node.dicom.hierarchy import RETURN_ONLY, tag_of
from node.dicom.private import SIMILARITY_FIND
from node.dicom.sop_classes import Extension
from node.errors import Refusal, Status
from node.query.identifier import read_query
from node.query.matching import moments, read_keys
from node.query.rules import QueryRules, query_rules
from tests.support.dicom.answering import EXAMPLE, Node, PatientRoot, StudyRoot, answering_node
from tests.support.dicom.archive import identifier, instance, uid

PLACES = {
    "1.1.1": {"StudyDate": "20200101", "StudyTime": "0900", "Modality": "CT"},
    "2.1.1": {"StudyDate": "20200102", "StudyTime": "2300", "Modality": "CT"},
    "2.2.1": {"StudyDate": "20200102", "StudyTime": "2300", "Modality": "PT"},
    "3.1.1": {"StudyDate": "20200103", "StudyTime": "1000", "Modality": "PT"},
    "4.1.1": {"StudyDate": "", "StudyTime": "", "Modality": ""},
    "5.1.1": {"StudyDate": "20200102", "StudyTime": "", "Modality": "MR"},
}
ITEMS = [instance(place, number, attributes=given) for number, (place, given) in enumerate(PLACES.items())]
ALL = bytes([1] * len(Extension))
COMBINED = QueryRules(combines_date_time=True)
DAY, START = timedelta(days=1), datetime(2020, 1, 1)
MOMENTS = st.integers(0, 5 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), ITEMS) as node:
        yield node


def studies(node: Node, request: Dataset, proposed: bytes = b"", model: UID = StudyRoot) -> list[str]:
    """Places of the studies found on an association that negotiates these bytes."""
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = model, proposed or b"\0"
    association = node.associate(model, ext_neg=[item])
    found = [response for _, response in association.send_c_find(request, model) if response is not None]
    association.release()
    return [response.StudyInstanceUID.removeprefix("2.25.") for response in found]


@given(stored=MOMENTS, ends=st.tuples(st.none() | MOMENTS, st.none() | MOMENTS).filter(any))
def test_a_date_and_a_time_are_one_moment_where_ranges_of_both_are_combined(
    stored: datetime, ends: tuple[datetime | None, datetime | None]
) -> None:
    texts = {
        keyword: "-".join("" if end is None else f"{end:{form}}" for end in ends)
        for keyword, form in (("StudyDate", "%Y%m%d"), ("StudyTime", "%H%M"))
    }
    keys = read_keys(texts, COMBINED)
    date, time = f"{stored:%Y%m%d}", f"{stored:%H%M}"

    found = keys["StudyDate"].matches(date) and keys["StudyTime"].matches(moments(date, time))

    assert found == ((ends[0] or stored) <= stored <= (ends[1] or stored))


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("20200101-20200103", "1000-"),
        ("20200101", "0900-1000"),
        ("20200101-20200103", "1000"),
        ("-", "-"),
        ("2020-2021", "10-11"),
        ("20200101-20200102-20200103", "10-11-12"),
        ("20200101-20200103", "ten-eleven"),
    ],
)
def test_ranges_of_different_forms_stay_two_keys(date: str, time: str) -> None:
    texts = {"SeriesDate": date, "SeriesTime": time}

    assert read_keys(texts, COMBINED)["SeriesTime"].date_keyword == ""


NIGHT = {"StudyDate": "20200101-20200102", "StudyTime": "1200-0600"}


@pytest.mark.parametrize(
    ("keys", "negotiated", "otherwise"),
    [
        (NIGHT, ["4", "5"], ["4", "5"]),  # not combined, no time of day lies between noon and six in the morning
        ({"StudyDate": "20200101-20200103", "StudyTime": "0930-0930"}, ["2", "4", "5"], ["4", "5"]),
        ({"StudyDate": "20200102-", "StudyTime": "1200-"}, ["2", "3", "4", "5"], ["2", "4", "5"]),
        ({"StudyDate": "-20200102", "StudyTime": "-1000"}, ["1", "4", "5"], ["1", "4", "5"]),
        ({"ModalitiesInStudy": ["CT", "PT"]}, ["2"], ["1", "2", "3"]),
        ({"StudyInstanceUID": [uid("1"), uid("3")]}, ["1", "3"], ["1", "3"]),
        ({"ModalitiesInStudy": '""'}, ["4"], ["4"]),
    ],
)
def test_keys_match_as_negotiated(
    node: Node, keys: Mapping[str, str], negotiated: list[str], otherwise: list[str]
) -> None:
    request = identifier("STUDY", keys={"StudyInstanceUID": "", **keys})

    assert studies(node, request, ALL) == negotiated
    assert studies(node, request) == otherwise


def test_a_filter_by_date_and_time_counts_beside_an_example_too(node: Node) -> None:
    example = {next(iter(EXAMPLE)): uid("5.1.1")}
    request = identifier("STUDY", example, {"StudyInstanceUID": "", "StudyDate": "20200102-", "StudyTime": "1200-"})

    assert sorted(studies(node, request, ALL)) == ["2", "3", "4"]
    assert sorted(studies(node, request)) == ["2", "4"]


@pytest.mark.parametrize("keyword", ["StudyDate", "ModalitiesInStudy", "AccessionNumber", "Modality"])
def test_an_empty_value_of_a_required_key_matches_by_a_setting(
    node: Node, keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = "SERIES" if keyword == "Modality" else "STUDY"
    request = identifier(level, keys={"StudyInstanceUID": "", keyword: "20200101" if keyword == "StudyDate" else "CT"})
    as_told = studies(node, request)
    monkeypatch.setattr(node.entity.find_service, "settings", node.settings.model_copy(update={"empty_matches": False}))

    assert ("4" in as_told) == (keyword != "ModalitiesInStudy")
    assert "4" not in studies(node, request)


@pytest.mark.parametrize("keyword", sorted(RETURN_ONLY))
def test_a_number_that_is_only_returned_is_no_condition_and_flagged(keyword: str) -> None:
    asked = read_query(identifier("IMAGE", keys={keyword: 1}))
    returned = read_query(identifier("IMAGE", keys={keyword: None}))

    assert (asked.keys[keyword].is_universal, asked.unsupported) == (True, (tag_of(keyword),))
    assert (returned.keys[keyword].is_universal, returned.unsupported) == (True, ())


@pytest.mark.parametrize(
    ("model", "level", "keys", "missing"),
    [
        (StudyRoot, "STUDY", {}, None),
        (StudyRoot, "SERIES", {}, "StudyInstanceUID"),
        (StudyRoot, "SERIES", {"StudyInstanceUID": ["1.2", "1.3"]}, "StudyInstanceUID"),
        (StudyRoot, "SERIES", {"StudyInstanceUID": "1.2"}, None),
        (StudyRoot, "IMAGE", {"StudyInstanceUID": "1.2"}, "SeriesInstanceUID"),
        (PatientRoot, "PATIENT", {}, None),
        (PatientRoot, "STUDY", {"PatientID": "A*"}, "PatientID"),
        (PatientRoot, "STUDY", {"PatientID": "A"}, None),
    ],
)
def test_the_hierarchy_is_kept_where_relational_queries_are_refused_unless_negotiated(
    node: Node, model: UID, level: str, keys: Mapping[str, str], missing: str | None
) -> None:
    strict = node.settings.model_copy(update={"relational_queries": "strict"})
    request = identifier(level, keys=keys)

    if missing:
        with pytest.raises(Refusal) as refused:
            read_query(request, query_rules(strict, model, frozenset(), None))
        assert (refused.value.status, refused.value.offending) == (Status.DATA_SET_MISMATCH, tag_of(missing))
    else:
        read_query(request, query_rules(strict, model, frozenset(), None))
    read_query(request, query_rules(node.settings, model, frozenset(), None))
    read_query(request, query_rules(strict, model, frozenset({Extension.RELATIONAL_QUERIES}), None))


def test_our_own_sop_class_is_relational_without_negotiation(node: Node) -> None:
    strict = node.settings.model_copy(update={"relational_queries": "strict"})

    assert read_query(identifier("IMAGE", EXAMPLE), query_rules(strict, SIMILARITY_FIND, frozenset(), None)).question


@pytest.mark.parametrize("content", [[], [{}], [{"CodeValue": "A", "CodeMeaning": "?*"}], [{"CodeValue": ""}, {}]])
def test_a_sequence_is_left_out_and_flagged_whatever_is_in_it(node: Node, content: list[dict[str, str]]) -> None:
    items = []
    for values in content:
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        items.append(item)
    request = identifier("STUDY", StudyInstanceUID=uid("1"), ProcedureCodeSequence=items)

    statuses, found = node.ask(request)

    assert [status.Status for status in statuses] == [Status.PENDING_WITH_UNSUPPORTED_KEYS, Status.SUCCESS]
    assert [element.keyword for element in found[0]] == ["QueryRetrieveLevel", "StudyInstanceUID"]
