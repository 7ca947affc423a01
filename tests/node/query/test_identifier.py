"""Identifiers of C-FIND: what is understood of a request, and what a response holds."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import decode

from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, LEVEL_OF, tag_of
from node.dicom.private import GROUP, Element
from node.errors import Refusal, Status
from node.query.data_set import read_data_set
from node.query.identifier import Query, read_query
from node.query.rules import QueryRules
from storage.record import LEVELS, Level
from tests.support.dicom.archive import identifier

EXAMPLE = {Element.EXAMPLE_SOP_INSTANCE_UID: "1.2.3"}


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are judged by the node, not by pydicom."""
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)


def read(dataset: Dataset) -> Query:
    return read_query(dataset)


def refused(dataset: Dataset, *, patient_root: bool = False, example_mandatory: bool = False) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_query(dataset, QueryRules(patient_root=patient_root, example_mandatory=example_mandatory))
    assert caught.value.status == Status.DATA_SET_MISMATCH
    assert str(caught.value) == caught.value.comment, "no comment is cut off"
    return caught.value


@pytest.mark.parametrize("patient_root", [True, False])
@pytest.mark.parametrize("level", LEVELS[1:])
def test_three_levels_are_of_both_models(level: Level, patient_root: bool) -> None:
    assert read_query(identifier(level), QueryRules(patient_root=patient_root)).level == level


def test_the_patient_level_is_of_patient_root_alone() -> None:
    assert read_query(identifier("PATIENT"), QueryRules(patient_root=True)).level == Level.PATIENT
    assert refused(identifier("PATIENT")).offending == tag_of("QueryRetrieveLevel")


@pytest.mark.parametrize("level", ["", "study", "FRAME", "STUDY\\SERIES"])
@pytest.mark.parametrize("patient_root", [True, False])
def test_any_other_level_is_refused(level: str, patient_root: bool) -> None:
    assert refused(identifier(level), patient_root=patient_root).offending == tag_of("QueryRetrieveLevel")


def test_a_missing_level_is_refused() -> None:
    assert refused(Dataset()).offending == tag_of("QueryRetrieveLevel")


def test_our_own_sop_class_needs_an_example() -> None:
    refusal = refused(identifier("STUDY", {Element.SIMILARITY_RANK: ""}, block=0x77), example_mandatory=True)

    assert refusal.offending == Tag(GROUP, 0x7701)


def test_supported_keys_are_read_with_their_values_empty_ones_too() -> None:
    query = read(
        identifier("SERIES", Modality="CT", SeriesNumber="", PatientName="Doe^J*", ModalitiesInStudy=["CT", "MR"])
    )

    assert {keyword: key.text for keyword, key in query.keys.items()} == {
        "Modality": "CT",
        "SeriesNumber": "",
        "PatientName": "Doe^J*",
        "ModalitiesInStudy": "CT\\MR",
    }
    assert not query.unsupported


@pytest.mark.parametrize("level", LEVELS)
def test_keys_below_the_level_are_not_supported_in_ordinary_queries(level: Level) -> None:
    for keyword, its_level in LEVEL_OF.items():
        query = read_query(identifier(level, keys={keyword: ""}), QueryRules(patient_root=True))

        supported = LEVELS.index(its_level) <= LEVELS.index(level)
        assert (list(query.keys) == [keyword], bool(query.unsupported)) == (supported, not supported)


@pytest.mark.parametrize("level", LEVELS)
def test_keys_of_every_level_are_supported_beside_an_example(level: Level) -> None:
    query = read_query(identifier(level, EXAMPLE, dict.fromkeys(LEVEL_OF, "")), QueryRules(patient_root=True))

    assert query.keys.keys() == LEVEL_OF.keys()
    assert not query.unsupported


@pytest.mark.parametrize(
    "keyword",
    ["PatientComments", "KVP", "TimezoneOffsetFromUTC", "RequestAttributesSequence", "InstanceAvailability"],
)
def test_a_key_that_is_not_supported_is_noticed(keyword: str) -> None:
    query = read(identifier("STUDY", keys={keyword: [] if keyword.endswith("Sequence") else ""}))

    assert query.unsupported
    assert query.keys == {}


def test_what_every_request_may_hold_and_what_others_own_is_not_noticed() -> None:
    dataset = identifier("STUDY", SpecificCharacterSet="ISO_IR 100", RetrieveAETitle="")
    dataset.add(DataElement(Tag(0x0008, 0x0000), "UL", 10))
    dataset.add(DataElement(Tag(0x0009, 0x0010), "LO", "SOMEBODY ELSE"))
    dataset.add(DataElement(Tag(0x0009, 0x1001), "LO", "theirs"))
    dataset.add(DataElement(Tag(GROUP, 0x0010), "LO", "SOMEBODY ELSE"))
    dataset.add(DataElement(Tag(GROUP, 0x1001), "UI", "1.2.3"))

    query = read(dataset)

    assert not query.unsupported
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


def test_a_retrieve_ae_title_to_match_is_noticed_for_it_is_only_returned() -> None:
    assert read(identifier("STUDY", RetrieveAETitle="ARCHIVE")).unsupported
    assert not read(identifier("STUDY", RetrieveAETitle="*")).unsupported


@pytest.mark.parametrize(
    ("ours", "noticed"),
    [
        ({Element.SIMILARITY_RANK: ""}, True),  # nothing can be ranked
        ({Element.EXAMPLE_SOP_INSTANCE_UID: ""}, True),
        (EXAMPLE | {Element.SIMILARITY_RANK: ""}, False),
        (EXAMPLE | {Element.SIMILARITY_RANK: "1"}, True),  # it is returned, not matched
        (EXAMPLE | {Element.RANKING: "HAMMING", Element.MAXIMUM_MATCHES: "3"}, False),
    ],
)
def test_private_elements_that_are_not_matched_or_not_returned_are_noticed(
    ours: dict[Element, str], noticed: bool
) -> None:
    assert bool(read(identifier("STUDY", ours)).unsupported) == noticed


def test_an_unknown_element_of_our_block_is_noticed() -> None:
    dataset = identifier("STUDY", EXAMPLE)
    dataset.add(DataElement(Tag(GROUP, 0x10EE), "LO", "of a later release"))

    assert read(dataset).unsupported


def test_spaces_around_a_code_string_say_nothing() -> None:
    octets = b"".join(
        struct.pack("<HHI", tag.group, tag.element, len(value)) + value
        for tag, value in (
            (tag_of("SpecificCharacterSet"), b" ISO_IR 192 "),
            (tag_of("QueryRetrieveLevel"), b" SERIES "),
            (tag_of("PatientName"), "Müller".encode() + b"*"),
        )
    )

    query = read(read_data_set(octets, ImplicitVRLittleEndian))

    assert (query.level, query.character_set, query.keys["PatientName"].text) == ("SERIES", "ISO_IR 192", "Müller*")


@pytest.mark.parametrize("keyword", ["StudyDescription", "PatientName", "ModalitiesInStudy"])
def test_a_key_of_more_text_than_any_vr_allows_is_refused(keyword: str) -> None:
    length = struct.pack("<I", 1 << 16)
    octets = struct.pack("<HHI", 8, 0x52, 6) + b"STUDY "
    octets += struct.pack("<HH", tag_of(keyword).group, tag_of(keyword).element) + length + b"=" * (1 << 16)

    assert refused(read_data_set(octets, ImplicitVRLittleEndian)).offending == tag_of(keyword)


def test_what_cannot_be_read_but_is_of_another_creator_does_no_harm() -> None:
    level = struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"IMAGE "
    creator = struct.pack("<HH2sH", GROUP, 0x11, b"LO", 8) + b"ANOTHER "
    element = struct.pack("<HH2sH", GROUP, 0x1101, b"FD", 1) + b"x"

    query = read(decode(BytesIO(level + creator + element), is_implicit_vr=False, is_little_endian=True))

    assert (query.question, query.unsupported) == (None, ())


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
        assert all(isinstance(key.text, str) for key in query.keys.values())


def test_every_keyword_is_at_one_level_and_kept_or_computed() -> None:
    listed = [keyword for level in LEVELS for keyword in (*ATTRIBUTES[level], *COMPUTED[level])]

    assert len(listed) == len(set(listed)) == len(LEVEL_OF)
