"""Identifiers of C-FIND responses: what they hold, in which character set, and how they are encoded."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import VR, PersonName
from pynetdicom.dsutils import encode

from node.dicom.hierarchy import LEVEL_OF, tag_of
from node.dicom.private import GROUP, Element, PrivateBlock, add_block
from node.query.data_set import read_data_set
from node.query.identifier import Query, read_query
from node.query.matching import read_keys
from node.query.response import ResponseEncoder
from storage.record import Level
from tests.support.dicom.archive import identifier

EXAMPLE = {Element.EXAMPLE_SOP_INSTANCE_UID: "1.2.3"}
LATIN, GREEK, KANJI, HANGUL = (
    "Müller^Jörg",
    "Διονυσιος",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Hong^Gildong=洪^吉洞=홍^길동",
)
CHARACTER_SETS = (
    *("", "ISO_IR 6", "ISO_IR 13", "ISO_IR 100", "ISO_IR 101", "ISO_IR 126", "ISO_IR 192", "GB18030", "GBK"),
    *("\\ISO 2022 IR 87", "\\ISO 2022 IR 149", "ISO 2022 IR 13\\ISO 2022 IR 87", "ISO 2022 IR 100\\ISO 2022 IR 126"),
    *("ISO_IR 192\\ISO 2022 IR 87", "UNKNOWN", "utf8"),
)


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are judged by the node, not by pydicom."""
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)


def read(dataset: Dataset) -> Query:
    return read_query(dataset)


def write_response(
    query: Query,
    values: Mapping[str, str],
    retrieve_ae_title: str,
    similarity: Mapping[Element, str],
    *,
    implicit: bool = False,
) -> Dataset:
    encoded = ResponseEncoder(query, implicit=implicit).encode(values, retrieve_ae_title, similarity)
    return read_data_set(encoded, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def data_element(keyword: str, text: str) -> DataElement:
    vr = VR(dictionary_VR(tag_of(keyword)))
    parts: list[Any] = text.split("\\") if text else []
    if vr == VR.US:
        parts = [int(part) for part in parts if part.isdecimal() and int(part) < 1 << 16]
    if vr == VR.PN:
        parts = [PersonName(part, validation_mode=pydicom_config.IGNORE) for part in parts]
    return DataElement(tag_of(keyword), vr, parts[0] if len(parts) == 1 else parts or None, already_converted=True)


def as_pydicom_writes(
    query: Query, values: Mapping[str, str], title: str, similarity: Mapping[Element, str], character_set: str
) -> Dataset:
    response = Dataset()
    if character_set:
        response.SpecificCharacterSet = character_set
    response.QueryRetrieveLevel = str(query.level)
    if title:
        response.RetrieveAETitle = title
    for keyword in query.keys:
        response.add(data_element(keyword, values.get(keyword, "")))
    returned = [(element, similarity[element]) for element in query.returned if element in similarity]
    add_block(response, returned, query.block)
    return response


@given(asked=st.sets(st.sampled_from(sorted(LEVEL_OF))), kept=st.sets(st.sampled_from(sorted(LEVEL_OF))))
def test_a_response_holds_what_was_asked_and_nothing_else(asked: set[str], kept: set[str]) -> None:
    query = read(identifier("IMAGE", {**EXAMPLE, Element.SIMILARITY_RANK: ""}, dict.fromkeys(asked, "")))
    stored = {keyword: "1" for keyword in kept if dictionary_VR(keyword) != "PN"}

    response = write_response(query, stored, "PACS", {Element.SIMILARITY_RANK: "1", Element.CODE_LENGTH: "64"})

    plain = {element.keyword for element in response if not element.tag.is_private}
    assert plain == asked | {"QueryRetrieveLevel", "RetrieveAETitle"}
    assert {keyword for keyword in asked if str(response[keyword].value) == "1"} == asked & stored.keys()
    assert [element for element in Element if element in PrivateBlock(response)] == [Element.SIMILARITY_RANK]


def test_private_elements_come_back_in_the_block_of_the_request() -> None:
    query = read(identifier("STUDY", {**EXAMPLE, Element.SIMILARITY_SCORE: ""}, block=0x42))

    response = write_response(query, {}, "", {Element.SIMILARITY_SCORE: "0.5"})

    assert response[Tag(GROUP, 0x4221)].value == 0.5
    assert PrivateBlock(response).block == 0x42


def test_no_retrieve_ae_title_is_sent_when_none_is_known() -> None:
    response = write_response(read(identifier("STUDY", RetrieveAETitle="")), {}, "", {})

    assert "RetrieveAETitle" not in response


@pytest.mark.parametrize("implicit", [True, False])
def test_numbers_and_several_values_arrive_as_they_are(implicit: bool) -> None:
    stored = {
        "Rows": "512",
        "InstanceNumber": "7",
        "ImageType": "ORIGINAL\\PRIMARY\\\\AXIAL",
        "ModalitiesInStudy": "CT\\PT",
        "SOPClassesInStudy": "1.2\\1.3",
        "NumberOfStudyRelatedInstances": "120",
    }
    query = read(identifier("IMAGE", keys=dict.fromkeys(stored, "")))

    response = write_response(query, stored, "", {}, implicit=implicit)

    assert (response.Rows, response.InstanceNumber, response.NumberOfStudyRelatedInstances) == (512, 7, 120)
    assert list(response.ImageType) == ["ORIGINAL", "PRIMARY", "", "AXIAL"]
    assert list(response.ModalitiesInStudy) == ["CT", "PT"]
    assert list(response.SOPClassesInStudy) == ["1.2", "1.3"]


def test_values_that_their_vr_does_not_allow_arrive_without_a_word() -> None:
    stored = {
        "InstanceNumber": "first",
        "SeriesDescription": "x" * 99,
        "StudyDate": "last summer",
        "StudyInstanceUID": "no UID",
        "Rows": "many",
        "Columns": "70000",
        "ContentDate": "2020\\",
    }
    query = read(identifier("IMAGE", keys=dict.fromkeys(stored, "")))
    pydicom_config.settings.reading_validation_mode = pydicom_config.WARN  # whatever is set: no warning, no error

    encoded = ResponseEncoder(query, implicit=False).encode(stored, "", {})
    response = read_data_set(encoded, ExplicitVRLittleEndian)

    for keyword in stored.keys() - {"Rows", "Columns"}:
        assert stored[keyword].encode() in encoded
    assert (response["Rows"].value, response["Columns"].value) == (None, None)


@pytest.mark.parametrize(
    ("requested", "name", "answered"),
    [
        ("ISO_IR 100", "Miller^J", None),
        ("ISO_IR 192", "Miller^J", None),
        ("ISO_IR 100", LATIN, "ISO_IR 100"),
        ("ISO_IR 192", LATIN, "ISO_IR 192"),
        ("", LATIN, "ISO_IR 192"),
        ("ISO_IR 6", LATIN, "ISO_IR 192"),
        ("ISO_IR 100", GREEK, "ISO_IR 192"),
        ("ISO_IR 126", GREEK, "ISO_IR 126"),
        ("ISO_IR 13", KANJI, "ISO_IR 192"),
        ("\\ISO 2022 IR 87", KANJI, ["", "ISO 2022 IR 87"]),
        ("\\ISO 2022 IR 149", HANGUL, ["", "ISO 2022 IR 149"]),
        ("\\ISO 2022 IR 149", LATIN, "ISO_IR 192"),
        ("GB18030", KANJI, "GB18030"),
        ("UNKNOWN", LATIN, "ISO_IR 192"),
    ],
)
def test_the_character_set_of_the_request_is_used_if_it_can(
    requested: str, name: str, answered: str | list[str] | None
) -> None:
    query = Query(Level.STUDY, read_keys({"PatientName": "", "StudyDescription": ""}), (), None, (), requested, 0x10)

    response = write_response(query, {"PatientName": name}, "", {})

    assert response.get("SpecificCharacterSet") == answered


@settings(deadline=None)
@given(
    requested=st.sampled_from(CHARACTER_SETS),
    name=st.sampled_from([LATIN, GREEK, KANJI, HANGUL, "Doe^J", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", "Łukasz^Ž", "Иванов^Иван", "🙂"]),
    description=st.text(st.sampled_from("aé山홍Ω~ア¥ \u0301"), max_size=8).map(lambda text: text.strip()),
    implicit=st.booleans(),
)
def test_every_text_arrives_whole_whatever_character_set_was_asked_for(
    requested: str, name: str, description: str, implicit: bool
) -> None:
    query = Query(Level.STUDY, read_keys({"PatientName": "", "StudyDescription": ""}), (), None, (), requested, 0x10)

    there = write_response(query, {"PatientName": name, "StudyDescription": description}, "", {}, implicit=implicit)

    assert (str(there.PatientName), there.StudyDescription or "") == (name, description)
    assert ("SpecificCharacterSet" in there) == (not f"{name}{description}".isascii())


ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
WORDS = st.text(st.sampled_from("aZ1 ^=\\-*é山홍Ωア"), max_size=12)
VALUES: dict[str, st.SearchStrategy[str]] = {
    VR.US: st.integers(0, 65535).map(str),
    VR.IS: st.integers(-(1 << 31), (1 << 31) - 1).map(str),
    VR.PN: WORDS,
    VR.LO: WORDS,
    VR.SH: WORDS,
}
ELEMENT_VALUES = {Element.SIMILARITY_SCORE: "0.5", Element.SIMILARITY_RANK: "12", Element.COVERAGE: "COMPLETE"}


@st.composite
def stored_values(draw: st.DrawFn) -> dict[str, str]:
    keywords = draw(st.sets(st.sampled_from(sorted(LEVEL_OF))))
    return {keyword: draw(VALUES.get(dictionary_VR(keyword), ASCII)) for keyword in sorted(keywords)}


@settings(deadline=None, max_examples=300)
@given(
    level=st.sampled_from([Level.STUDY, Level.SERIES, Level.IMAGE]),
    stored=stored_values(),
    similarity=st.dictionaries(st.sampled_from(list(ELEMENT_VALUES)), st.none()),
    requested=st.sampled_from(CHARACTER_SETS),
    title=st.sampled_from(["", "PACS", "ARCHIVE"]),
    block=st.sampled_from([0x10, 0x42]),
    implicit=st.booleans(),
)
def test_every_identifier_has_the_bytes_that_pydicom_writes(
    level: Level,
    stored: dict[str, str],
    similarity: dict[Element, None],
    requested: str,
    title: str,
    block: int,
    implicit: bool,
) -> None:
    returned = tuple(sorted(ELEMENT_VALUES))
    query = Query(level, read_keys(dict.fromkeys([*stored, "PatientID"], "")), returned, None, (), requested, block)
    values = {element: ELEMENT_VALUES[element] for element in similarity}

    encoded = ResponseEncoder(query, implicit=implicit).encode(stored, title, values)

    character_set = read_data_set(encoded, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian).get(
        "SpecificCharacterSet", ""
    )
    names = character_set if isinstance(character_set, str) else "\\".join(character_set)
    twin = as_pydicom_writes(query, stored, title, values, names)
    assert encoded == encode(twin, implicit, is_little_endian=True)


def test_a_value_too_long_for_its_length_field_is_written_as_unknown() -> None:
    query = read(identifier("STUDY", StudyDescription=""))

    response = write_response(query, {"StudyDescription": "x" * 70_001}, "", {})

    assert len(response["StudyDescription"].value) >= 70_001
