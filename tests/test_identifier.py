"""Identifiers of C-FIND: what is understood of a request, and what a response holds."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pynetdicom.dsutils import decode, encode

from node.dicom.hierarchy import COMPUTED, KEPT, LEVEL_OF, tag_of
from node.dicom.private import GROUP, Element, PrivateBlock
from node.errors import Refusal, Status
from node.query.identifier import Query, read_query, write_response
from storage.record import LEVELS, Level
from tests.archive import identifier

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
    return read_query(dataset, patient_root=False)


def received(dataset: Dataset, *, implicit: bool = False) -> Dataset:
    octets = encode(dataset, implicit, is_little_endian=True)
    assert octets is not None
    return decode(BytesIO(octets), implicit, is_little_endian=True)


def refused(dataset: Dataset, *, patient_root: bool = False, example_mandatory: bool = False) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_query(dataset, patient_root=patient_root, example_mandatory=example_mandatory)
    assert caught.value.status == Status.DATA_SET_MISMATCH
    assert str(caught.value) == caught.value.comment, "no comment is cut off"
    return caught.value


@pytest.mark.parametrize("patient_root", [True, False])
@pytest.mark.parametrize("level", LEVELS[1:])
def test_three_levels_are_of_both_models(level: Level, patient_root: bool) -> None:
    assert read_query(identifier(level), patient_root=patient_root).level == level


def test_the_patient_level_is_of_patient_root_alone() -> None:
    assert read_query(identifier("PATIENT"), patient_root=True).level == Level.PATIENT
    assert refused(identifier("PATIENT")).offending == tag_of("QueryRetrieveLevel")


@pytest.mark.parametrize("level", ["", "study", "FRAME", "STUDY\\SERIES"])
@pytest.mark.parametrize("patient_root", [True, False])
def test_any_other_level_is_refused(level: str, patient_root: bool) -> None:
    assert refused(identifier(level), patient_root=patient_root).offending == tag_of("QueryRetrieveLevel")


def test_a_missing_level_is_refused() -> None:
    assert refused(Dataset()).offending == tag_of("QueryRetrieveLevel")


def test_look_alikes_of_patients_are_refused() -> None:
    assert refused(identifier("PATIENT", EXAMPLE), patient_root=True).offending == tag_of("QueryRetrieveLevel")


def test_our_own_sop_class_needs_an_example() -> None:
    refusal = refused(identifier("STUDY", {Element.SIMILARITY_RANK: ""}, block=0x77), example_mandatory=True)

    assert refusal.offending == Tag(GROUP, 0x7701)


def test_supported_keys_are_read_with_their_values_empty_ones_too() -> None:
    query = read(
        identifier("SERIES", Modality="CT", SeriesNumber="", PatientName="Doe^J*", ModalitiesInStudy=["CT", "MR"])
    )

    assert query.keys == {
        "Modality": "CT",
        "SeriesNumber": "",
        "PatientName": "Doe^J*",
        "ModalitiesInStudy": "CT\\MR",
    }
    assert not query.has_unsupported_keys


@pytest.mark.parametrize("level", LEVELS)
def test_keys_below_the_level_are_not_supported_in_ordinary_queries(level: Level) -> None:
    for keyword, its_level in LEVEL_OF.items():
        query = read_query(identifier(level, keys={keyword: ""}), patient_root=True)

        supported = LEVELS.index(its_level) <= LEVELS.index(level)
        assert (list(query.keys) == [keyword], query.has_unsupported_keys) == (supported, not supported)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_keys_of_every_level_are_supported_beside_an_example(level: Level) -> None:
    query = read(identifier(level, EXAMPLE, dict.fromkeys(LEVEL_OF, "")))

    assert query.keys.keys() == LEVEL_OF.keys()
    assert not query.has_unsupported_keys


@pytest.mark.parametrize("keyword", ["PatientComments", "KVP", "TimezoneOffsetFromUTC", "RequestAttributesSequence"])
def test_a_key_that_is_not_supported_is_noticed(keyword: str) -> None:
    query = read(identifier("STUDY", keys={keyword: [] if keyword.endswith("Sequence") else ""}))

    assert query.has_unsupported_keys
    assert query.keys == {}


def test_what_every_request_may_hold_and_what_others_own_is_not_noticed() -> None:
    dataset = identifier("STUDY", SpecificCharacterSet="ISO_IR 100", RetrieveAETitle="", InstanceAvailability="")
    dataset.add(DataElement(Tag(0x0008, 0x0000), "UL", 10))
    dataset.add(DataElement(Tag(0x0009, 0x0010), "LO", "SOMEBODY ELSE"))
    dataset.add(DataElement(Tag(0x0009, 0x1001), "LO", "theirs"))
    dataset.add(DataElement(Tag(GROUP, 0x0010), "LO", "SOMEBODY ELSE"))
    dataset.add(DataElement(Tag(GROUP, 0x1001), "UI", "1.2.3"))

    query = read(dataset)

    assert not query.has_unsupported_keys
    assert (query.keys, query.returned, query.question) == ({}, (), None)


@pytest.mark.parametrize(("keyword", "value"), [("Rows", b"\1\2\3"), ("NumberOfFrames", b"\1"), ("KVP", b"\1\2\3")])
@pytest.mark.parametrize("vr", [b"US", b"FD", b"SQ"])
def test_a_key_that_cannot_be_read_is_refused_and_named(keyword: str, value: bytes, vr: bytes) -> None:
    tag = tag_of(keyword)
    level = struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"IMAGE "
    head = struct.pack("<HH2sH", tag.group, tag.element, vr, len(value))
    if vr == b"SQ":
        head = struct.pack("<HH2sHI", tag.group, tag.element, vr, 0, len(value))

    refusal = refused(decode(BytesIO(level + head + value), is_implicit_vr=False, is_little_endian=True))

    assert refusal.offending == tag


def test_what_cannot_be_read_but_is_of_another_creator_does_no_harm() -> None:
    level = struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"IMAGE "
    creator = struct.pack("<HH2sH", GROUP, 0x11, b"LO", 8) + b"ANOTHER "
    element = struct.pack("<HH2sH", GROUP, 0x1101, b"FD", 1) + b"x"

    query = read(decode(BytesIO(level + creator + element), is_implicit_vr=False, is_little_endian=True))

    assert (query.question, query.has_unsupported_keys) == (None, False)


ELEMENTS = st.tuples(
    st.sampled_from([*map(tag_of, LEVEL_OF), *(Tag(GROUP, 0x1000 | element) for element in Element), Tag(GROUP, 0x10)]),
    st.sampled_from([b"UI", b"IS", b"DS", b"LO", b"PN", b"DA", b"US", b"FD", b"AT", b"CS", b"TM", b"AS"]),
    st.binary(max_size=12),
)


@settings(max_examples=150, deadline=None)
@given(elements=st.lists(ELEMENTS, max_size=6), implicit=st.booleans())
def test_values_of_any_bytes_are_understood_or_refused(
    elements: list[tuple[BaseTag, bytes, bytes]],
    implicit: bool,
) -> None:
    octets = b""
    for tag, vr, value in sorted([(tag_of("QueryRetrieveLevel"), b"CS", b"IMAGE "), *elements]):
        length = struct.pack("<I", len(value)) if implicit else vr + struct.pack("<H", len(value))
        octets += struct.pack("<HH", tag.group, tag.element) + length + value
    dataset = decode(BytesIO(octets), implicit, is_little_endian=True)

    try:
        query = read(dataset)
    except Refusal as refusal:
        assert refusal.status == Status.DATA_SET_MISMATCH  # noqa: PT017
    else:
        assert all(isinstance(value, str) for value in query.keys.values())


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

    response = received(write_response(query, stored, "", {}), implicit=implicit)

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

    response = write_response(query, stored, "", {})
    octets = encode(response, False, is_little_endian=True)

    assert octets is not None
    for keyword in stored.keys() - {"Rows", "Columns"}:
        assert stored[keyword].encode() in octets
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
    query = Query(Level.STUDY, {"PatientName": "", "StudyDescription": ""}, (), None, False, requested, 0x10)

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
    query = Query(Level.STUDY, {"PatientName": "", "StudyDescription": ""}, (), None, False, requested, 0x10)

    response = write_response(query, {"PatientName": name, "StudyDescription": description}, "", {})

    there = received(response, implicit=implicit)
    assert (str(there.PatientName), there.StudyDescription or "") == (name, description)
    assert ("SpecificCharacterSet" in there) == (not f"{name}{description}".isascii())


def test_every_keyword_is_at_one_level_and_kept_or_computed() -> None:
    listed = [keyword for level in LEVELS for keyword in (*KEPT[level], *COMPUTED[level])]

    assert len(listed) == len(set(listed)) == len(LEVEL_OF)
