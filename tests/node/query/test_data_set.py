"""Identifiers as bytes: what is read, and what is no data set or too much."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.errors import COMMENT_LENGTH, Refusal, Status
from node.query.data_set import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, StructureError, check_structure, read_data_set

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def sample(*, delimited: bool = False) -> Dataset:
    """An identifier with sequences in it."""
    inner, outer, dataset = Dataset(), Dataset(), Dataset()
    inner.CodeValue = "A"
    outer.RequestedProcedureCodeSequence = Sequence([inner, Dataset()])
    outer.RequestedProcedureID = "1"
    dataset.QueryRetrieveLevel, dataset.PatientName, dataset.Rows = "IMAGE", "Doe*", 5
    dataset.RequestAttributesSequence = Sequence([outer])
    dataset["RequestAttributesSequence"].is_undefined_length = delimited
    outer.is_undefined_length_sequence_item = delimited
    dataset.ReferencedStudySequence = Sequence([])
    return dataset


def encoded(dataset: Dataset, syntax: UID) -> bytes:
    octets = encode(dataset, syntax.is_implicit_VR, is_little_endian=True)
    assert octets is not None
    return octets


def refused(octets: bytes, syntax: UID) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_data_set(octets, syntax)
    assert len(str(caught.value)) <= COMMENT_LENGTH, "no comment is cut off"
    return caught.value


@pytest.mark.parametrize("delimited", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_data_set_is_read_with_its_sequences(syntax: UID, delimited: bool) -> None:
    assert read_data_set(encoded(sample(delimited=delimited), syntax), syntax) == sample()


@pytest.mark.parametrize("delimited", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_data_set_that_is_cut_anywhere_within_an_element_is_not_understood(syntax: UID, delimited: bool) -> None:
    octets = encoded(sample(delimited=delimited), syntax)
    whole = {len(encoded(Dataset(), syntax))}
    for element in sample(delimited=delimited):
        part = Dataset()
        for before in sample(delimited=delimited):
            if before.tag <= element.tag:
                part.add(before)
        whole.add(len(encoded(part, syntax)))

    for length in range(len(octets)):
        if length in whole:
            read_data_set(octets[:length], syntax)
        else:
            assert refused(octets[:length], syntax).status == Status.CANNOT_UNDERSTAND


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "octets",
    [b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, struct.pack("<HHI", 0xFFFE, 0xE000, 0), b"\x08\0\x52\0??\x02\0AB"],
)
def test_bytes_that_are_no_data_set_are_not_understood(syntax: UID, octets: bytes) -> None:
    assert refused(octets, syntax).status == Status.CANNOT_UNDERSTAND


@settings(max_examples=300)
@given(octets=st.binary(max_size=60), implicit=st.booleans())
def test_any_bytes_are_elements_from_the_first_to_the_last_or_refused(octets: bytes, implicit: bool) -> None:
    try:
        check_structure(octets, implicit=implicit)
    except StructureError as error:
        assert 0 <= error.offset <= len(octets)  # noqa: PT017


def test_an_identifier_beyond_what_is_read_is_refused_with_what_to_do() -> None:
    many = b"".join(struct.pack("<HHI", 0x0011, number, 0) for number in range(MAX_ELEMENTS + 1))
    deep = struct.pack("<HHIHHI", 0x0040, 0x0275, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * (MAX_DEPTH + 1)

    assert refused(bytes(MAX_BYTES + 1), ImplicitVRLittleEndian).status == Status.OUT_OF_RESOURCES
    assert refused(many, ImplicitVRLittleEndian).status == Status.CANNOT_UNDERSTAND
    assert refused(deep, ImplicitVRLittleEndian).status == Status.CANNOT_UNDERSTAND


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (b" ISO_IR 192 ", "Müller"),
        (b"ISO_IR 192\\ISO 2022 IR 87", "Müller"),
        (b"ISO_IR 192\\nobody knows", "MÃ¼ller"),
        (b"nobody knows", "MÃ¼ller"),
    ],
)
def test_unknown_character_sets_are_left_out_before_anything_can_warn_of_them(
    names: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    octets = b"".join(
        struct.pack("<HHI", group, element, len(value)) + value
        for group, element, value in ((8, 5, names), (0x10, 0x10, "Müller".encode()))
    )

    assert read_data_set(octets, ImplicitVRLittleEndian).PatientName == text
