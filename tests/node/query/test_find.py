"""C-FIND over a real association: ordinary queries and queries by example, in both models and the private one."""

from collections.abc import Iterator, Mapping

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from node.dicom.private import GROUP, SIMILARITY_FIND, Element, PrivateBlock
from node.errors import Status
from node.query import find
from storage.search.chance import compute, write
from tests.support.dicom.answering import (
    EXAMPLE,
    MANY,
    MODELS,
    RETURNED,
    SYNTAXES,
    Node,
    PatientRoot,
    answering_node,
    ours,
)
from tests.support.dicom.archive import identifier, uid


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node")) as node:
        yield node


def place(text: str) -> str:
    return text.removeprefix("2.25.")


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("level", "unique", "keys", "expected"),
    [
        ("STUDY", "StudyInstanceUID", {"PatientID": "A"}, ["1", "2"]),
        ("STUDY", "StudyInstanceUID", {"PatientName": "MÜLLER*", "SpecificCharacterSet": "ISO_IR 192"}, ["3"]),
        ("STUDY", "StudyInstanceUID", {"StudyDate": "20200101-20201231"}, ["1", "3"]),
        ("STUDY", "StudyInstanceUID", {"ModalitiesInStudy": ["PT", "MR"]}, ["2", "3"]),
        ("SERIES", "SeriesInstanceUID", {"StudyInstanceUID": uid("3")}, ["3.1", "3.2"]),
        ("SERIES", "SeriesInstanceUID", {"Modality": "CT", "PatientID": "?"}, ["1.1", "3.1"]),
        ("IMAGE", "SOPInstanceUID", {"SeriesInstanceUID": uid("1.1")}, ["1.1.1", "1.1.2"]),
        ("IMAGE", "SOPInstanceUID", {"InstanceNumber": "2", "PatientID": "A"}, ["1.1.2"]),
        ("IMAGE", "SOPInstanceUID", {"SOPInstanceUID": [uid("3.1.1"), uid("9.9.9")]}, ["3.1.1"]),
        ("IMAGE", "SOPInstanceUID", {"SOPInstanceUID": uid("9.9.9")}, []),
    ],
)
def test_ordinary_queries_find_at_each_level_of_both_models(
    node: Node, model: UID, syntax: UID, level: str, unique: str, keys: Mapping[str, str], expected: list[str]
) -> None:
    found = node.found(identifier(level, keys={unique: "", **keys}), model, syntax)

    assert [place(response[unique].value) for response in found] == expected


def test_patients_are_found_in_patient_root(node: Node) -> None:
    request = identifier(
        "PATIENT", PatientID="", PatientName="*", NumberOfPatientRelatedStudies="", NumberOfPatientRelatedInstances=""
    )

    found = node.found(request, PatientRoot)

    assert [
        (one.PatientID, one.NumberOfPatientRelatedStudies, one.NumberOfPatientRelatedInstances) for one in found
    ] == [
        ("A", 2, 3),
        ("B", 1, 2),
        ("C", 1, len(MANY)),
    ]


def test_a_response_holds_the_level_and_the_keys_of_the_request(node: Node) -> None:
    request = identifier(
        "IMAGE", SOPInstanceUID=uid("1.1.1"), Rows=None, PatientName="", ModalitiesInStudy="", ViewPosition=""
    )

    [response] = node.found(request)

    assert {element.keyword: element.value for element in response} == {
        "QueryRetrieveLevel": "IMAGE",
        "ModalitiesInStudy": "CT",
        "SOPInstanceUID": uid("1.1.1"),
        "PatientName": "Doe^Jane",
        "Rows": 512,
        "ViewPosition": None if response.ViewPosition is None else "",
    }


@pytest.mark.parametrize(
    ("requested", "answered"), [("ISO_IR 100", "ISO_IR 100"), ("ISO_IR 192", "ISO_IR 192"), (None, "ISO_IR 192")]
)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_name_beyond_ascii_comes_with_its_character_set(
    node: Node, requested: str | None, answered: str, syntax: UID
) -> None:
    keys = {"SpecificCharacterSet": requested} if requested else {}

    [response] = node.found(identifier("STUDY", PatientID="B", PatientName="", keys=keys), syntax=syntax)

    assert (response.PatientName, response.SpecificCharacterSet) == ("Müller^Jörg", answered)


@pytest.mark.parametrize(
    ("keys", "pending"),
    [
        ({"PatientSex": ""}, Status.PENDING),
        ({"PatientComments": ""}, Status.PENDING_WITH_UNSUPPORTED_KEYS),
        ({"SeriesDescription": ""}, Status.PENDING_WITH_UNSUPPORTED_KEYS),
        ({"KVP": "120"}, Status.PENDING_WITH_UNSUPPORTED_KEYS),
    ],
)
def test_every_pending_response_says_whether_a_key_was_left_out(
    node: Node, keys: Mapping[str, str], pending: Status
) -> None:
    statuses, found = node.ask(identifier("STUDY", PatientID="A", keys=keys))

    assert [status.Status for status in statuses] == [pending, pending, Status.SUCCESS]
    assert all((keyword in response) == (keyword == "PatientSex") for response in found for keyword in keys)


def test_private_elements_of_others_are_ignored_without_a_word(node: Node) -> None:
    request = identifier("STUDY", PatientID="A", StudyInstanceUID="")
    request.add(DataElement(Tag(GROUP, 0x10), "LO", "SOMEBODY ELSE"))
    request.add(DataElement(Tag(GROUP, 0x1001), "UI", uid("3.1.1")))

    found = node.found(request)

    assert [place(response.StudyInstanceUID) for response in found] == ["1", "2"]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("model", [*MODELS, SIMILARITY_FIND])
@pytest.mark.parametrize("block", [0x10, 0xC3])
def test_look_alikes_come_in_rank_order_with_their_similarity(node: Node, model: UID, syntax: UID, block: int) -> None:
    request = identifier(
        "STUDY", EXAMPLE | dict.fromkeys(RETURNED, ""), block=block, StudyInstanceUID="", PatientSex="*"
    )

    found = node.found(request, model, syntax)

    assert [place(response.StudyInstanceUID) for response in found] == ["5", "2", "3"]
    assert PrivateBlock(found[2]).block == block
    assert ours(found[2]) == EXAMPLE | {
        Element.SIMILARITY_RANK: "3",
        Element.SIMILARITY_SCORE: "0.953125",
        Element.HAMMING_DISTANCE: "3",
        Element.CODE_LENGTH: "64",
        Element.BEST_MATCH_SOP_INSTANCE_UID: uid("3.1.1"),
        Element.BEST_MATCH_SERIES_INSTANCE_UID: uid("3.1"),
        Element.BEST_MATCH_FRAME_NUMBER: "1",
        Element.COVERAGE: "COMPLETE",
        Element.INDEXED_INSTANCES: str(len(MANY) + 3),
    }


def test_one_study_of_each_patient_comes_where_that_is_asked_for(node: Node) -> None:
    keys = {**EXAMPLE, Element.DISTINCT: "PATIENT", Element.DUPLICATES: "", Element.EXCLUDE: ""}

    found = node.found(identifier("STUDY", keys, StudyInstanceUID="", PatientID=""))

    assert [place(response.StudyInstanceUID) for response in found] == ["5", "2", "3"]
    assert len({response.PatientID for response in found}) == 3
    assert [ours(response)[Element.DUPLICATES] for response in found] == ["0"] * 3
    assert {ours(response)[Element.DISTINCT] for response in found} == {"PATIENT"}


def test_a_match_says_how_many_candidates_chance_would_put_as_near(node: Node) -> None:
    request = identifier(
        "STUDY", {**EXAMPLE, Element.CHANCE_EXPECTATION: "", Element.INDEXED_INSTANCES: ""}, StudyInstanceUID=""
    )
    [before, *_] = node.found(request)
    table = compute(node.finder.database)

    write(node.finder.database, table)
    found = [ours(response) for response in node.found(request)]

    candidates = int(found[0][Element.INDEXED_INSTANCES])
    assert ours(before)[Element.CHANCE_EXPECTATION] == ""
    assert [float(one[Element.CHANCE_EXPECTATION]) for one in found] == [
        pytest.approx(table.expectation("CT", candidates, distance), rel=0.01) for distance in (0, 2, 3)
    ]


def test_keys_below_the_level_filter_and_come_from_the_nearest_image(node: Node) -> None:
    counts = dict.fromkeys(("NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances"), "")
    keys = {"StudyInstanceUID": "", "Modality": "PT", "SOPInstanceUID": "", "Rows": None}
    request = identifier("STUDY", {**EXAMPLE, Element.BEST_MATCH_FRAME_NUMBER: ""}, keys | counts)

    [response] = node.found(request)

    assert (response.StudyInstanceUID, response.SOPInstanceUID) == (uid("3"), uid("3.2.1"))
    assert (response.Modality, response.Rows) == ("PT", 128)
    assert (response.NumberOfSeriesRelatedInstances, response.NumberOfStudyRelatedInstances) == (1, 2)
    assert ours(response) == {**EXAMPLE, Element.BEST_MATCH_FRAME_NUMBER: "2"}


@pytest.mark.parametrize(
    ("manufacturer", "expected"), [("ACME", "5"), ("acme", ""), ("A*", "5 2"), ("M?ller", "3"), ("M?ller\\ACME", "5 3")]
)
def test_look_alikes_of_a_manufacturer_are_matched_as_series_are(node: Node, manufacturer: str, expected: str) -> None:
    keys = {"SpecificCharacterSet": "ISO_IR 192", "Manufacturer": manufacturer, "StudyInstanceUID": ""}

    found = node.found(identifier("STUDY", EXAMPLE, keys))

    assert [place(response.StudyInstanceUID) for response in found] == expected.split()


@pytest.mark.parametrize("level", ["SERIES", "IMAGE"])
def test_filters_apply_before_the_nearest_are_chosen(node: Node, level: str) -> None:
    request = identifier(level, {**EXAMPLE, Element.MAXIMUM_MATCHES: "2"}, StudyDate="20200615", SeriesInstanceUID="")

    found = node.found(request)

    assert [place(response.SeriesInstanceUID) for response in found] == ["3.1", "3.2"]


def test_the_question_comes_back_as_it_was_understood(node: Node) -> None:
    asked = dict.fromkeys([element for element in Element if element < Element.SIMILARITY_RANK], "")

    [*_, response] = node.found(identifier("STUDY", {**asked, **EXAMPLE, Element.EXCLUDE: ["STUDY", "SELF"]}))

    answered = ours(response)
    assert answered[Element.INDEX_SNAPSHOT]
    assert answered == {
        **asked,
        **EXAMPLE,
        Element.MAXIMUM_MATCHES: "20",
        Element.MODEL_IDENTIFIER: "model",
        Element.EXCLUDE: "SELF\\STUDY",
        Element.AGGREGATION: "BEST",
        Element.INDEX_SNAPSHOT: answered[Element.INDEX_SNAPSHOT],
        Element.RANKING: "HAMMING",
        Element.DISTINCT: "NONE",
    }


def test_the_snapshot_that_was_answered_from_can_be_named_again(node: Node) -> None:
    [first, *_] = node.found(identifier("STUDY", {**EXAMPLE, Element.INDEX_SNAPSHOT: ""}))

    again = node.found(identifier("STUDY", {**EXAMPLE, Element.INDEX_SNAPSHOT: ours(first)[Element.INDEX_SNAPSHOT]}))

    assert len(again) == 3


def test_too_many_matches_are_refused_before_the_first_response(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.finder, "settings", node.settings.model_copy(update={"max_find_responses": 4}))

    [refused], found = node.ask(identifier("IMAGE", PatientSex="F\\M"))
    four, _ = node.ask(identifier("SERIES", PatientSex="F\\M"))

    assert (refused.Status, refused.ErrorComment, found) == (0xA700, "too many matches: narrow query", [])
    assert [status.Status for status in four] == [Status.PENDING] * 4 + [Status.SUCCESS]


@pytest.mark.parametrize(
    "request_",
    [
        identifier("IMAGE", InstanceNumber="404", PatientID="C"),
        identifier("STUDY", EXAMPLE, StudyDescription="nobody*", InstanceNumber="404"),
    ],
)
def test_long_work_is_cancelled_before_it_has_found_anything(
    node: Node, request_: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "CHECK_S", 0)
    answers = iter([False, False, True])

    responses = list(node.finder.find(request_, implicit=False, is_cancelled=lambda: next(answers)))

    assert responses == [(Status.CANCEL, None)]
